"""Problem: an initial value problem, its weights and states drawn by NumPy: every library gets the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from . import blueprints
from .blueprints import Weight

_Array = TypeVar("_Array")
_BLUEPRINTS = {
    "mlp": blueprints.mlp,
    "conv": blueprints.conv,
    "relaxation": blueprints.mlp,
    "unet": blueprints.unet,
    "transformer": blueprints.transformer,
}


@dataclass(frozen=True)
class Problem:
    """dy/dt = f(t, y; weights), t from 0 to t1, for a batch of initial states, in float32.

    The first three fields are networks with tanh between their layers, and the time as one more feature (or channel)
    of every layer's input:

    - "mlp": dense layers, state (batch, features);
    - "conv": convolutions of 3x3, zero padding, state (batch, channels, side, side);
    - "relaxation": dy/dt = rate (mlp(t, y) - y), an own rate for each sample. The rate is the last entry of the
      state, which does not change, so that every library carries it alike: state (batch, features + 1);
    - "unet": residual blocks of convolutions with group norm, SiLU and an embedding of the time, at resolutions that
      halve and double again, with self-attention at the lowest: state (batch, channels, side, side);
    - "transformer": layer norm, self-attention and an MLP, with an embedding of the time: state (batch, tokens, width).

    Attributes:
        field: See above.
        sizes: Features or channels from layer to layer, the time not counted; for "unet" the channels of the state and
            of each resolution; for "transformer" the width of the state and of the MLP's hidden layer.
        batch: Number of samples.
        t1: End of the interval that begins at 0.
        times: How many equally spaced times to save at, both ends among them; 0 saves the end alone.
        own_times: Every sample has its own times to save at, `times` of them, at random and the last at t1.
        side: Height and width of the images.
        tokens: Length of the sequences.
        spread: The greatest rate; the least is 1, the others lie between on a geometric scale.
        gain: The weights' standard deviation times the root of the fan-in.
        seed: Decides weights and initial states.
    """

    field: Literal["mlp", "conv", "relaxation", "unet", "transformer"]
    sizes: tuple[int, ...]
    batch: int
    t1: float = 1.0
    times: int = 0
    own_times: bool = False
    side: int = 0
    tokens: int = 0
    spread: float = 1.0
    gain: float = 1.5
    seed: int = 0

    @property
    def convolves(self) -> bool:
        """Whether the field has convolutions."""
        return self.field in ("conv", "unet")

    def blueprint(self) -> list[Weight]:
        """The field's weights: names, shapes and how they are drawn."""
        return _BLUEPRINTS[self.field](self.sizes, self.gain)

    def weights(self) -> list[np.ndarray]:
        """The field's weights, in the order of the blueprint."""
        rng = np.random.default_rng(self.seed)
        return [(w.mean + w.scale * rng.standard_normal(w.shape)).astype(np.float32) for w in self.blueprint()]

    def named(self, weights: Sequence[_Array]) -> dict[str, _Array]:
        """Weights in the order of the blueprint by their names, whatever library's arrays they are."""
        return {w.name: array for w, array in zip(self.blueprint(), weights, strict=True)}

    def y0(self) -> np.ndarray:
        """The initial states, standard normal."""
        rng = np.random.default_rng(self.seed + 1)
        image, sequence = (self.side, self.side) if self.convolves else (), (self.tokens,) * bool(self.tokens)
        y0 = rng.standard_normal((self.batch, *sequence, self.sizes[0], *image))
        if self.field == "relaxation":
            y0 = np.column_stack([y0, np.geomspace(1.0, self.spread, self.batch)])
        return y0.astype(np.float32)

    def ts(self) -> np.ndarray | None:
        """The times to save at, (times,), or (batch, times) if every sample has its own; None if there are none."""
        if self.own_times:
            return self._own_ts()
        return np.linspace(0.0, self.t1, self.times).astype(np.float32) if self.times else None

    def _own_ts(self) -> np.ndarray:
        """Uniform times, whose gaps are exponential; a hundredth of the mean gap keeps them apart in float32."""
        gaps = 0.01 + np.random.default_rng(self.seed + 2).exponential(size=(self.batch, self.times))
        share = np.cumsum(gaps, axis=1)
        return (self.t1 * share / share[:, -1:]).astype(np.float32)
