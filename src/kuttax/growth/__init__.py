"""Growth rates of a field, as one solver sees it: along trajectories, and close to equilibria."""

from .rates import GrowthRates, growth_rates
from .rests import Rests

__all__ = ["GrowthRates", "Rests", "growth_rates"]
