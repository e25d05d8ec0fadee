"""Densities by continuous normalizing flows: a field carries a normal distribution to the data, and back."""

from .likelihood import log_prob as log_prob
from .likelihood import sample as sample
from .likelihood import standard_normal as standard_normal
from .trace import Exact as Exact
from .trace import Hutchinson as Hutchinson
from .transport import Transported as Transported
from .transport import augmented as augmented
from .transport import transport as transport
