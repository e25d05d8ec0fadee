"""Method: how each solver and each penalty is named and drawn, the same in every table and plot."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """Name for readers, colour, and marker (Matplotlib's letter).

    Colours are from Okabe & Ito's colour-blind safe set; markers tell the methods apart without any colour.
    """

    name: str
    colour: str
    marker: str


_KNOWN = {
    "dopri5": Method("DOPRI5", "#6B6B6B", "D"),
    "rk4": Method("RK4", "#0072B2", "s"),
    "midpoint": Method("midpoint", "#009E73", "^"),
    "learned": Method("learned", "#D55E00", "o"),
    "spark": Method("SPaRK", "#6B6B6B", "D"),
    "euler-maruyama": Method("Euler-Maruyama", "#E69F00", "v"),
    "milstein": Method("Milstein", "#56B4E9", "P"),
    "stochastic-heun": Method("stochastic Heun", "#009E73", "^"),
    "srk": Method("SRK", "#0072B2", "s"),
    "learned-srk": Method("learned SRK", "#D55E00", "o"),
    "none": Method("vanilla", "#6B6B6B", "D"),
    "local-error": Method("local-error", "#D55E00", "o"),
    "local-error-biased": Method("local-error-biased", "#D55E00", "v"),
    "local-unbiased": Method("local-unbiased", "#E69F00", "v"),
    "local-biased": Method("local-biased", "#E69F00", "^"),
    "local-stiffness": Method("local-stiffness", "#D55E00", "s"),
    "global-error": Method("global-error", "#0072B2", "P"),
    "global-stiffness": Method("global-stiffness", "#0072B2", "X"),
    "taylor": Method("taylor", "#009E73", "h"),
    "kinetic": Method("kinetic", "#CC79A7", "<"),
    "jacobian": Method("jacobian", "#CC79A7", ">"),
    "rnode": Method("rnode", "#7A5195", "p"),
    "steer": Method("steer", "#56B4E9", "d"),
}
ON_DARK = {
    "#6B6B6B": "#A6A6B0",
    "#0072B2": "#4FA8E0",
    "#009E73": "#30C79B",
    "#D55E00": "#F58A45",
    "#7A5195": "#B48FD0",
}
"""For each colour too dark for a dark background, the one to put in its place."""

_SPARE = [("#CC79A7", "v"), ("#56B4E9", "P"), ("#E69F00", "X"), ("#7A5195", "h")]


def name_of(method: str) -> str:
    """The method's name for readers; an unknown method goes by its own."""
    return _KNOWN[method].name if method in _KNOWN else method


def styles(methods: Iterable[str]) -> dict[str, Method]:
    """A look for each method, in their order; those not known by name take the spare colours in turn."""
    unique = dict.fromkeys(methods)
    unknown = [method for method in unique if method not in _KNOWN]
    spare = {method: Method(method, *_SPARE[i % len(_SPARE)]) for i, method in enumerate(unknown)}
    return {method: _KNOWN.get(method) or spare[method] for method in unique}
