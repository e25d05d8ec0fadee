"""Targets: what kuttax is held to, and what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

from .results import Ratio, Results

_FLOAT_BYTES = 4
_Measure = Callable[[Results], Ratio | None]


@dataclass(frozen=True)
class Target:
    """A ratio and its bound.

    Attributes:
        text: What is compared.
        bound: The least or greatest that will do.
        is_least: Which of the two.
        measure: The ratio in some results; None where they do not have it.
    """

    text: str
    bound: float
    is_least: bool
    measure: _Measure

    def is_met(self, ratio: Ratio) -> bool:
        """Whether the median will do."""
        return ratio.median >= self.bound if self.is_least else ratio.median <= self.bound


def _faster(workload: str, peer: str, bound: float) -> Target:
    text = f"gradient, {workload}: {peer} / kuttax"
    return Target(text, bound, True, lambda results: results.time_ratio(workload, peer, "kuttax"))


def _cost(workload: str, above: str, below: str, bound: float, kind: str = "gradient") -> Target:
    text = f"{kind}, {workload}: {above} / {below}"
    return Target(text, bound, False, lambda results: results.time_ratio(workload, above, below, kind))


def _compiles(workload: str, bound: float) -> Target:
    text = f"compile time of the gradient, {workload}: kuttax / diffrax"
    return Target(text, bound, False, lambda results: results.value_ratio(workload, "kuttax", "diffrax", "compile_s"))


def _grows(name: str, bound: float) -> Target:
    """Memory of the gradient: what one step more adds, over the size of the state."""

    def measure(results: Results) -> Ratio | None:
        few, many = (results.get(f"memory-{steps}", name, "gradient") for steps in (100, 1000))
        if few is None or many is None or few.get("temp_mib") is None:
            return None
        state = many["batch"] * many["sizes"][0] * _FLOAT_BYTES / 2**20
        return Ratio((many["temp_mib"] - few["temp_mib"]) / (many["steps"] - few["steps"]) / state)

    return Target(f"gradient's memory, {name}: one step more / the state", bound, False, measure)


TARGETS = (
    *(_faster("wide-rk4", peer, 3.0) for peer in ("diffrax", "diffrax-tuned", "torchdiffeq")),
    _faster("small-rk4", "torchdiffeq", 2.0),
    *(_faster("small-rk4", peer, 1.2) for peer in ("diffrax", "diffrax-tuned")),
    _cost("wide-rk4", "kuttax", "limit", 1.15),
    _cost("small-rk4", "kuttax", "limit", 1.5),
    _faster("wide-dopri5", "diffrax", 3.0),
    _faster("wide-dopri5", "diffrax-tuned", 1.4),
    _faster("wide-dopri5", "torchdiffeq", 3.0),
    *(_faster(workload, "diffrax-tuned", 1.5) for workload in ("small-dopri5", "long-dopri5")),
    *(_compiles(workload, 1 / 3) for workload in ("small-rk4", "wide-rk4")),
    *(_compiles(workload, 0.4) for workload in ("small-dopri5", "wide-dopri5")),
    *(
        _cost(workload, "kuttax-learned", "kuttax", 1.1, kind)
        for workload in ("small-learned", "wide-learned")
        for kind in ("forward", "gradient")
    ),
    *(_cost(workload, "kuttax-learned-table", "kuttax", 1.25) for workload in ("small-learned", "wide-learned")),
    _grows("kuttax-reversible", 0.05),
    _grows("kuttax-steps", 1.1),
    *(
        _cost(workload, "kuttax", "limit", 1.25, kind)
        for workload in ("narrow-sde", "small-sde")
        for kind in ("forward", "gradient")
    ),
    _faster("narrow-sde", "diffrax-tuned", 5.0),
    *(
        _cost(workload, own, f"{own}-common", 1.15, kind)
        for workload, own in (("ragged-rk4", "kuttax"), ("ragged-dopri5", "kuttax"), ("ragged-dopri5", "kuttax-joint"))
        for kind in ("forward", "gradient")
    ),
    *(_faster("ragged-rk4", peer, 3.0) for peer in ("diffrax", "diffrax-tuned")),
    *(_faster("ragged-dopri5", peer, 3.0) for peer in ("torchode", "diffrax", "diffrax-tuned")),
    *(_faster("mixed-dopri5", peer, 1.0) for peer in ("torchode", "diffrax", "diffrax-tuned")),
)
"""Everything that kuttax is held to."""
