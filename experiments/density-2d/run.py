"""Densities in the plane: learned solvers of few evaluations against DOPRI5 and classical schemes of the same cost.

    python -m experiments.density-2d.run train [--data ...] [--methods ...] [--seeds N] [--steps N] [--out DIR]
    python -m experiments.density-2d.run time
    python -m experiments.density-2d.run draw

What a stage does: experiments/densities.py.
"""

from collections.abc import Sequence
from pathlib import Path

from kuttax.commands.program import ending
from kuttax.data.tables.toys import TOYS

from .. import densities

DEFAULTS = {"steps": 2000, "batch_size": 256, "lr": 3e-3}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    densities.main(__doc__, Path(__file__).parent, tuple(TOYS), DEFAULTS, {"width": 64, "depth": 2}, arguments)


if __name__ == "__main__":
    ending.run(main, program="experiments")
