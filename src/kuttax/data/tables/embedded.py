"""scikit-learn's embedded tables as densities to learn: wine, breast cancer, diabetes and iris, without labels."""

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .points import PointSplits, Standardised, split, standardised

TABLES = {"wine": "load_wine", "breast-cancer": "load_breast_cancer", "diabetes": "load_diabetes", "iris": "load_iris"}
"""Name -> its loader in `sklearn.datasets`."""

TEST_FRACTION = 0.2
TEST_SEED = 20210503
"""These sets have no official test part. Ours is a fifth, fixed: no option changes it."""

_MOST_ALIKE = 0.98
_LEAST_VALUES = 10


def load(name: str, validation_fraction: float = 0.2, seed: int = 0) -> PointSplits:
    """Loads a table, removes columns without a density, splits and standardises it.

    Args:
        name: One of `TABLES`.
        validation_fraction: Share of the rows that are not test data.
        seed: Decides which rows are validation data.

    Raises:
        UserError: If there is no such table, or the fraction is outside (0, 1).
    """
    if name not in TABLES:
        raise UserError(f"unknown table {name!r}; known: {', '.join(TABLES)}")
    from sklearn import datasets  # not at the top: kuttax would take twice as long to import

    table = getattr(datasets, TABLES[name])(return_X_y=True)[0]
    return three_parts(name, continuous(table), validation_fraction, seed).splits


def three_parts(name: str, x: Float[np.ndarray, "n d"], validation_fraction: float, seed: int) -> Standardised:
    """The rows of a table as training, validation and test data, standardised.

    Raises:
        UserError: If the fraction is outside (0, 1), there are too few rows, or a column is constant.
    """
    rest, test = split(x, TEST_FRACTION, TEST_SEED, f"{name}: test")
    train, validation = split(rest, validation_fraction, seed, f"{name}: validation")
    return standardised(name, train, validation, test)


def continuous(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n kept"]:
    """The columns that have a density together.

    As Papamakarios et al. (NeurIPS 2017, appendix D) do, without discrete columns (here: fewer than ten values), and
    without the first of every two whose correlation is above 0.98.
    """
    kept = [i for i in range(x.shape[1]) if len(np.unique(x[:, i])) >= _LEAST_VALUES]
    return x[:, kept][:, uncorrelated(x[:, kept])]


def uncorrelated(x: Float[np.ndarray, "n d"]) -> list[int]:
    """The columns left when the first that correlates with another above 0.98 is taken out, until none does."""
    kept = list(range(x.shape[1]))
    alike = np.corrcoef(x, rowvar=False).reshape(len(kept), len(kept)) > _MOST_ALIKE
    while True:
        crowded = np.flatnonzero(alike[np.ix_(kept, kept)].sum(axis=1) > 1)
        if not crowded.size:
            return kept
        del kept[crowded[0]]
