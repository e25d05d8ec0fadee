"""What a scheme must learn from exact data of a linear system: the field whose steps are the data."""

import numpy as np

import kuttax as kx

TABLEAUS = {"euler": kx.tableaus.EULER, "midpoint": kx.tableaus.MIDPOINT, "rk4": kx.tableaus.RK4}


def stability(tableau: kx.Tableau, z: complex) -> complex:
    """R(z): one step of the scheme for x' = z x with h = 1, computed by its stages."""
    slopes: list[complex] = []
    for row in np.asarray(tableau.a)[: tableau.stages]:
        slopes.append(z * (1 + sum(a * k for a, k in zip(row, slopes, strict=False))))
    return complex(1 + sum(b * k for b, k in zip(np.asarray(tableau.b), slopes, strict=True)))


def learned_eigenvalue(tableau: kx.Tableau, true: complex, h: float) -> complex:
    """The eigenvalue whose step of size h is the exact one: R(h found) = exp(h true).

    Newton's method in the complex plane, from the true eigenvalue, with h increased little by little, so that it stays
    on the branch of small steps (Lu & Tsai 2025, arXiv 2507.14491).
    """
    found = true
    for part in np.linspace(0, h, 201)[1:]:
        for _ in range(50):
            wrong = stability(tableau, part * found) - np.exp(part * true)
            slope = (stability(tableau, part * found + 1e-6) - stability(tableau, part * found - 1e-6)) / 2e-6 * part
            found = complex(found - wrong / slope)
            if abs(wrong) < 1e-13:
                break
    return found
