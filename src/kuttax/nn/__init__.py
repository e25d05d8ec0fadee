"""Vector fields and the models around them, as Equinox modules."""

from .augment import augment
from .classifier import NeuralODEClassifier
from .concat_squash import ConcatSquashField
from .conv1d_field import Conv1dField
from .conv_field import ConvField
from .mlp_field import MLPField

__all__ = ["ConcatSquashField", "Conv1dField", "ConvField", "MLPField", "NeuralODEClassifier", "augment"]
