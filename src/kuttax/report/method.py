"""Style: how each solver and each penalty is named and drawn, the same in every table and plot."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """Name for readers, colour, and marker (Matplotlib's letter).

    Colours are from Okabe & Ito's colour-blind safe set; markers tell the methods apart without any colour.
    """

    name: str
    colour: str
    marker: str


_KNOWN = {
    "dopri5": Style("DOPRI5", "#6B6B6B", "D"),
    "rk4": Style("RK4", "#0072B2", "s"),
    "midpoint": Style("midpoint", "#009E73", "^"),
    "learned": Style("learned", "#D55E00", "o"),
    "spark": Style("SPaRK", "#6B6B6B", "D"),
    "euler-maruyama": Style("Euler-Maruyama", "#E69F00", "v"),
    "milstein": Style("Milstein", "#56B4E9", "P"),
    "stochastic-heun": Style("stochastic Heun", "#009E73", "^"),
    "srk": Style("SRK", "#0072B2", "s"),
    "learned-srk": Style("learned SRK", "#D55E00", "o"),
    "none": Style("vanilla", "#6B6B6B", "D"),
    "local-error": Style("local-error", "#D55E00", "o"),
    "local-error-biased": Style("local-error-biased", "#D55E00", "v"),
    "local-unbiased": Style("local-unbiased", "#E69F00", "v"),
    "local-biased": Style("local-biased", "#E69F00", "^"),
    "local-stiffness": Style("local-stiffness", "#D55E00", "s"),
    "global-error": Style("global-error", "#0072B2", "P"),
    "global-stiffness": Style("global-stiffness", "#0072B2", "X"),
    "taylor": Style("taylor", "#009E73", "h"),
    "kinetic": Style("kinetic", "#CC79A7", "<"),
    "jacobian": Style("jacobian", "#CC79A7", ">"),
    "rnode": Style("rnode", "#7A5195", "p"),
    "steer": Style("steer", "#56B4E9", "d"),
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


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A look for each method, in their order; those not known by name take the spare colours in turn."""
    unique = dict.fromkeys(methods)
    unknown = [method for method in unique if method not in _KNOWN]
    spare = {method: Style(method, *_SPARE[i % len(_SPARE)]) for i, method in enumerate(unknown)}
    return {method: _KNOWN.get(method) or spare[method] for method in unique}
