"""Densities of scikit-learn's embedded tables: learned solvers of few evaluations against DOPRI5 and classical schemes.

    python experiments/density-tables/run.py train [--data ...] [--methods ...] [--seeds N] [--steps N] [--out DIR]
    python experiments/density-tables/run.py time
    python experiments/density-tables/run.py draw

What a stage does: experiments/densities.py. The sets are small, so that the best model on validation data comes early.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import densities  # noqa: E402

from kuttax.data.tables import TABLES  # noqa: E402

DEFAULTS = {"steps": 600, "batch_size": 64, "lr": 1e-3}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    densities.main(__doc__, HERE, tuple(TABLES), DEFAULTS, {"width": 32, "depth": 1}, arguments)


if __name__ == "__main__":
    main()
