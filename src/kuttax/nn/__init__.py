"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .concat_squash import ConcatSquashField
from .conv1d_field import Conv1dField
from .conv_field import ConvField
from .cubed import Cubed
from .mlp_field import MLPField
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
