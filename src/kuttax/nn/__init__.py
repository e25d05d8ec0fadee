"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .fields.concat_squash import ConcatSquashField
from .fields.conv1d import Conv1dField
from .fields.conv2d import ConvField
from .fields.cubed import Cubed
from .fields.mlp import MLPField
from .sde_classifier import NeuralSDEClassifier

__all__ = [
    "ConcatSquashField",
    "Conv1dField",
    "ConvField",
    "Cubed",
    "MLPField",
    "NeuralODEClassifier",
    "NeuralSDEClassifier",
    "augment",
]
