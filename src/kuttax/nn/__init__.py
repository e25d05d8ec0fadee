"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .conv_field import ConvField
from .mlp_field import MLPField

__all__ = ["ConvField", "MLPField", "NeuralODEClassifier", "augment"]
