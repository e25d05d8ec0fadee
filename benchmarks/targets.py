"""Targets: what kuttax is held to, and what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

from .results import Ratio, Results
from .workloads import WORKLOADS

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


def _compile_growth(above: str, below: str, bound: float) -> Target:
    """Compile time of kuttax's gradient: one workload over another."""

    def measure(results: Results) -> Ratio | None:
        times = [(results.get(name, "kuttax", "gradient") or {}).get("compile_s") for name in (above, below)]
        return Ratio(times[0] / times[1]) if times[0] is not None and times[1] else None

    return Target(f"compile time of the gradient, kuttax: {above} / {below}", bound, False, measure)


def _grows(name: str, bound: float) -> Target:
    """Memory of the gradient: what one step more adds, over the size of the state."""

    def measure(results: Results) -> Ratio | None:
        few, many = (results.get(f"memory-{steps}", name, "gradient") for steps in (100, 1000))
        if few is None or many is None or few.get("temp_mib") is None:
            return None
        state = many["batch"] * many["sizes"][0] * _FLOAT_BYTES / 2**20
        return Ratio((many["temp_mib"] - few["temp_mib"]) / (many["steps"] - few["steps"]) / state)

    return Target(f"gradient's memory, {name}: one step more / the state", bound, False, measure)


_FASTER = (
    *(_faster("wide-rk4", peer, 3.0) for peer in ("diffrax", "diffrax-tuned")),
    _faster("wide-rk4", "torchdiffeq", 1.3),
    _faster("small-rk4", "torchdiffeq", 2.0),
    *(_faster("small-rk4", peer, 1.2) for peer in ("diffrax", "diffrax-tuned")),
    _faster("wide-dopri5", "diffrax", 3.0),
    _faster("wide-dopri5", "diffrax-tuned", 1.4),
    _faster("wide-dopri5", "torchdiffeq", 3.0),
    *(_faster(workload, "diffrax-tuned", 1.3) for workload in ("small-dopri5", "long-dopri5")),
    *(_faster(workload, "diffrax-tuned", 1.2) for workload in ("conv-rk4", "conv-dopri5")),
    _faster("unet-rk4", "diffrax", 4.0),
    _faster("unet-dopri5", "diffrax", 2.0),
    _faster("narrow-sde", "diffrax-tuned", 5.0),
    *(_faster("ragged-rk4", peer, 3.0) for peer in ("diffrax", "diffrax-tuned")),
    *(_faster("ragged-dopri5", peer, 3.0) for peer in ("torchode", "diffrax", "diffrax-tuned")),
    *(_faster("mixed-dopri5", peer, 1.0) for peer in ("torchode", "diffrax")),
)
_NEVER_SLOWER = (
    _faster(name, "diffrax-tuned", 1.0)
    for name, workload in WORKLOADS.items()
    if {"kuttax", "diffrax-tuned"} <= set(workload.libraries)
)
_LEARNED = ("small-learned", "wide-learned", "mlp32-rk4", "unet-rk4")
TARGETS = (
    *_FASTER,
    *(target for target in _NEVER_SLOWER if target.text not in {stronger.text for stronger in _FASTER}),
    _cost("wide-rk4", "kuttax", "limit", 1.3),
    _cost("wide-dopri5", "kuttax", "limit", 1.6),
    _cost("small-rk4", "kuttax", "limit", 1.5),
    _cost("unet-rk4", "kuttax", "limit", 1.15),
    _cost("unet-rk4", "kuttax", "torch-loop", 2.0),
    *(
        _compiles(f"{field}-{method}", bound)
        for field, bound in (("mlp2", 0.5), ("mlp8", 0.5), ("mlp32", 0.6), ("mlp64", 0.6), ("unet", 0.6))
        for method in ("rk4", "dopri5", "dopri8")
    ),
    _compile_growth("mlp32-dopri8", "mlp32-dopri5", 1.3),
    *(
        _cost(workload, "kuttax-learned", "kuttax", 1.05, kind)
        for workload in _LEARNED
        for kind in ("forward", "gradient")
    ),
    *(_cost(workload, "kuttax-learned-table", "kuttax", 1.25) for workload in _LEARNED),
    _grows("kuttax-reversible", 0.05),
    _grows("kuttax-steps", 1.1),
    *(
        _cost(workload, "kuttax", "limit", 1.25, kind)
        for workload in ("narrow-sde", "small-sde")
        for kind in ("forward", "gradient")
    ),
    *(
        _cost(workload, own, f"{own}-common", 1.15, kind)
        for workload, own in (("ragged-rk4", "kuttax"), ("ragged-dopri5", "kuttax"), ("ragged-dopri5", "kuttax-joint"))
        for kind in ("forward", "gradient")
    ),
)
"""Everything that kuttax is held to."""
