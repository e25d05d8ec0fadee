"""Problem: an initial value problem, its weights and states drawn by NumPy: every library gets the same ones."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Problem:
    """dy/dt = f(t, y; weights), t from 0 to t1, for a batch of initial states, in float32.

    The field is a network with tanh between its layers and the time as one more feature (or channel) of every layer's
    input:

    - "mlp": dense layers, state (batch, features);
    - "conv": convolutions of 3x3, zero padding, state (batch, channels, side, side);
    - "relaxation": dy/dt = rate (mlp(t, y) - y), an own rate for each sample. The rate is the last entry of the
      state, which does not change, so that every library carries it alike: state (batch, features + 1).

    Attributes:
        field: See above.
        sizes: Features or channels from layer to layer, the time not counted.
        batch: Number of samples.
        t1: End of the interval that begins at 0.
        times: How many equally spaced times to save at, both ends among them; 0 saves the end alone.
        own_times: Every sample has its own times to save at, `times` of them, at random and the last at t1.
        side: Height and width of the images.
        spread: The greatest rate; the least is 1, the others lie between on a geometric scale.
        gain: The weights' standard deviation times the root of the fan-in.
        seed: Decides weights and initial states.
    """

    field: Literal["mlp", "conv", "relaxation"]
    sizes: tuple[int, ...]
    batch: int
    t1: float = 1.0
    times: int = 0
    own_times: bool = False
    side: int = 0
    spread: float = 1.0
    gain: float = 1.5
    seed: int = 0

    def weights(self) -> list[np.ndarray]:
        """Matrices (inputs + 1, outputs) or kernels (outputs, inputs + 1, 3, 3), each followed by its bias."""
        rng = np.random.default_rng(self.seed)
        weights = []
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            shape = (outputs, inputs + 1, 3, 3) if self.field == "conv" else (inputs + 1, outputs)
            fan_in = (inputs + 1) * (9 if self.field == "conv" else 1)
            weights.append((self.gain / np.sqrt(fan_in) * rng.standard_normal(shape)).astype(np.float32))
            weights.append((0.1 * rng.standard_normal(outputs)).astype(np.float32))
        return weights

    def y0(self) -> np.ndarray:
        """The initial states, standard normal."""
        rng = np.random.default_rng(self.seed + 1)
        image = (self.side, self.side) if self.field == "conv" else ()
        y0 = rng.standard_normal((self.batch, self.sizes[0], *image))
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
