"""Densities in the plane: learned solvers of few evaluations against DOPRI5 and classical schemes of the same cost.

    python experiments/density-2d/run.py train [--data ...] [--methods ...] [--seeds N] [--steps N] [--out DIR]
    python experiments/density-2d/run.py time
    python experiments/density-2d/run.py draw

What a stage does: experiments/densities.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import densities  # noqa: E402

from kuttax.data.toys import TOYS  # noqa: E402

DEFAULTS = {"steps": 2000, "batch_size": 256, "lr": 3e-3}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    densities.main(__doc__, HERE, tuple(TOYS), DEFAULTS, {"width": 64, "depth": 2}, arguments)


if __name__ == "__main__":
    main()
