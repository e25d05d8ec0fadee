"""Densities of scikit-learn's embedded tables: learned solvers of few evaluations against DOPRI5 and classical schemes.

    python -m experiments.density-tables.run train [--data ...] [--methods ...] [--seeds N] [--steps N] [--out DIR]
    python -m experiments.density-tables.run time
    python -m experiments.density-tables.run draw

What a stage does: experiments/densities.py. The sets are small, so that the best model on validation data comes early.
"""

from collections.abc import Sequence
from pathlib import Path

from kuttax.commands.program import ending
from kuttax.data.tables.embedded import TABLES

from .. import densities

DEFAULTS = {"steps": 600, "batch_size": 64, "lr": 1e-3}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    densities.main(__doc__, Path(__file__).parent, tuple(TABLES), DEFAULTS, {"width": 32, "depth": 1}, arguments)


if __name__ == "__main__":
    ending.run(main, program="experiments")
