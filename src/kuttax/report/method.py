"""Style: the name and look of each solver and each penalty, the same in every table and plot."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..options.look import COLOURS, Look
from ..penalties.registry import PENALTIES
from ..solvers.registry import FIXED


@dataclass(frozen=True)
class Style:
    """Name for readers, colour, and marker (Matplotlib's letter).

    Colours are from Okabe & Ito's colour-blind safe set; markers tell the methods apart without any colour.
    """

    name: str
    colour: str
    marker: str


def _style(name: str, look: Look) -> Style:
    return Style(name, COLOURS[look.colour], look.marker)


_KNOWN = {
    "dopri5": _style("DOPRI5", Look("grey", "D")),
    "rk4": _style("RK4", Look("blue", "s")),
    "midpoint": _style("midpoint", Look("green", "^")),
    "learned": _style("learned", Look("vermilion", "o")),
    "spark": _style("SPaRK", Look("grey", "D")),
    **{name: _style(entry.label, entry.look) for name, entry in FIXED.items()},
    "none": _style("vanilla", Look("grey", "D")),
    **{name: _style(name, entry.look) for name, entry in PENALTIES.items() if entry.look is not None},
}
ON_DARK = {
    "#6B6B6B": "#A6A6B0",
    "#0072B2": "#4FA8E0",
    "#009E73": "#30C79B",
    "#D55E00": "#F58A45",
    "#7A5195": "#B48FD0",
}
"""For each colour too dark for a dark background, its replacement."""

_SPARE = [("#CC79A7", "v"), ("#56B4E9", "P"), ("#E69F00", "X"), ("#7A5195", "h")]


def name_of(method: str) -> str:
    """The method's name for readers; for an unknown method, the given name."""
    return _KNOWN[method].name if method in _KNOWN else method


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A look for each method, in their order; unknown methods take the spare colours in turn."""
    unique = dict.fromkeys(methods)
    unknown = [method for method in unique if method not in _KNOWN]
    spare = {method: Style(method, *_SPARE[i % len(_SPARE)]) for i, method in enumerate(unknown)}
    return {method: _KNOWN.get(method) or spare[method] for method in unique}
