"""Growth rates of a field, as one solver sees it: along trajectories, and close to equilibria."""

from .rates import GrowthRates as GrowthRates
from .rates import growth_rates as growth_rates
from .rests import Rests as Rests
