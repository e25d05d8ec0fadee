"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .conv1d_field import Conv1dField
from .conv_field import ConvField
from .mlp_field import MLPField

__all__ = ["Conv1dField", "ConvField", "MLPField", "NeuralODEClassifier", "augment"]
