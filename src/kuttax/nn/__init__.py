"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .controlled import NeuralCDE
from .fields.concat_squash import ConcatSquashField
from .fields.controlled import ControlledField
from .fields.conv1d import Conv1dField
from .fields.conv2d import ConvField
from .fields.cubed import Cubed
from .fields.mlp import MLPField
from .sde_classifier import NeuralSDEClassifier

__all__ = [
    "ConcatSquashField",
    "ControlledField",
    "Conv1dField",
    "ConvField",
    "Cubed",
    "MLPField",
    "NeuralCDE",
    "NeuralODEClassifier",
    "NeuralSDEClassifier",
    "augment",
]
