"""Penalties: what makes a field cheap to integrate, to be given to `solve`."""

from .consistency import Consistency as Consistency
from .global_ import GlobalError as GlobalError
from .global_ import GlobalStiffness as GlobalStiffness
from .jacobian import JacobianFrobenius as JacobianFrobenius
from .kinetic import Kinetic as Kinetic
from .local import LocalError as LocalError
from .local import LocalStiffness as LocalStiffness
from .schedule import Scheduled as Scheduled
from .schedule import decaying as decaying
from .steer import Steer as Steer
from .taylor import Taylor as Taylor
