"""Part: a training run as one part of a longer training."""

from typing import NamedTuple

from jaxtyping import PyTree


class Part(NamedTuple):
    """Where a run stands in a training of several parts.

    The order of the data, the loss's random draws and its `progress` are those of the whole training. The schedule of
    the learning rates is the run's own.

    Attributes:
        begin: The optimiser steps before this run.
        whole: The optimiser steps of the whole training.
    """

    begin: int
    whole: int


class Ended(NamedTuple):
    """The end of a part, from which the next part goes on with another solver.

    Attributes:
        model: The model after the last optimiser step.
        optimiser: The optimiser's state then.
    """

    model: PyTree
    optimiser: PyTree
