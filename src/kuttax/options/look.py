"""Look: the colour and marker of a method in plots, named in the registry entry of the method."""

from typing import NamedTuple

COLOURS = {
    "grey": "#6B6B6B",
    "blue": "#0072B2",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "pink": "#CC79A7",
    "purple": "#7A5195",
}
"""Okabe & Ito's colour-blind safe set, with a grey and a purple."""
VERDICTS = {"valid": COLOURS["green"], "invalid": COLOURS["vermilion"], "undecided": COLOURS["grey"]}
"""The colour of each verdict of a certificate."""


class Look(NamedTuple):
    """The look of a method in plots; the markers alone distinguish the methods.

    Attributes:
        colour: One of `COLOURS`.
        marker: Matplotlib's letter.
    """

    colour: str
    marker: str
