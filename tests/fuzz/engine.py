"""Random solves. `Status.ok` must mean a right number, and a failure no finite number that is wrong.

A solve of fixed steps is compared with the same method in NumPy (`reference`), an adaptive one with the closed form, an
SDE of additive noise with the sums on its path. Cases come in blocks that share compiled programs: a block has one
solver, dtype and shape; numbers differ from case to case.
"""

import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.solvers.base.numbers import least_rtol
from kuttax.solvers.base.precision import carried_in

from .families import AUTONOMOUS, TIMED, Family
from .outcome import Outcome
from .reference import Coefficients, Coupled, Noisy, Rounding, through

BLOCK = 40
"""Cases that share a block."""

_TABLEAUS = (
    *("EULER", "MIDPOINT", "HEUN2", "RALSTON2", "RALSTON3", "HEUN3", "KUTTA3", "SSPRK3", "RK4", "RK38", "BOSH3"),
    *("DOPRI5", "TSIT5", "DOPRI8"),
)
_PAIRS = ("MIDPOINT", "HEUN2", "RALSTON2", "BOSH3", "DOPRI5", "TSIT5", "DOPRI8")
_LEARNABLE = ("EULER", "MIDPOINT", "HEUN3", "RK4", "BOSH3", "TSIT5")
_FROM_DIFFRAX = ("Heun", "Bosh3", "Tsit5", "Dopri5", "Dopri8", "Kvaerno3", "Kvaerno5")
_SAME = {"Tsit5": kx.tableaus.TSIT5, "Dopri5": kx.tableaus.DOPRI5, "Bosh3": kx.tableaus.BOSH3}
_METHODS = ("adaptive", "fixed", "per sample", "learned", "diffrax", "adaptive", "reversible", "sde", "diffrax steps")
_OUTPUTS = ("none", "inside", "none", "from start", "to end", "both", "beyond")
_SIZE = 2  # components of a state
_SAMPLES = 3

# How far a number may be from the truth, in units of the tolerance times the steps: the estimate that controls a step
# is that of the embedded method, and nothing controls the interpolation.
_STEP_ERRORS, _OUTPUT_ERRORS = 10.0, 100.0


@dataclass(frozen=True)
class Block:
    """What the cases of a block share: all that shapes the compiled program.

    Attributes:
        method: One of `_METHODS`.
        scheme: A tableau or diffrax solver by its name.
        steps: Of fixed steps.
        dtype: Of the state.
        x64: Whether JAX has float64.
        axis: `batch_axis`.
        timed: Whether the field depends on time.
        outputs: How `ts` lies, one of `_OUTPUTS`.
        traced: Whether times are known only when the program runs.
        counted: Whether the field counts its evaluations.
    """

    method: str
    scheme: str
    steps: int
    dtype: str
    x64: bool
    axis: int | None
    timed: bool
    outputs: str
    traced: bool
    counted: bool

    @classmethod
    def draw(cls, seed: int, number: int) -> "Block":
        """Block `number` of the fuzz run with this seed; the methods take turns."""
        rng = np.random.default_rng([seed, number, 1])
        method = _METHODS[(number + seed) % len(_METHODS)]
        names = {"adaptive": _PAIRS, "per sample": _PAIRS, "learned": _LEARNABLE, "diffrax": _FROM_DIFFRAX}
        names |= {"diffrax steps": tuple(_SAME), "sde": ("EulerMaruyama", "StochasticHeun", "Milstein", "SRK")}
        scheme = str(rng.choice(names.get(method, _TABLEAUS)))
        dtype = str(rng.choice(["float32", "float64", "float16", "bfloat16"], p=[0.5, 0.24, 0.13, 0.13]))
        axis = int(rng.choice([0, 1])) if method == "per sample" else [None, 0, 1][rng.integers(3)]
        outputs = str(rng.choice(_OUTPUTS))
        if method == "diffrax steps":
            outputs = "none"
        counted = method not in ("per sample", "sde") and axis is None and rng.random() < 0.3
        steps = int(rng.choice([1, 3, 8, 16]))
        timed, traced = bool(rng.random() < 0.35) and method != "sde", bool(rng.random() < 0.25)
        x64 = dtype == "float64" or bool(rng.integers(2))
        return cls(method, scheme, steps, dtype, x64, axis, timed, outputs, traced, counted)

    @property
    def solver(self) -> Any:
        """The solver, with numbers that a case replaces."""
        match self.method:
            case "fixed":
                return kx.FixedSteps(self._tableau, self.steps)
            case "reversible":
                return kx.Reversible(kx.FixedSteps(self._tableau, self.steps))
            case "learned":
                sizes = bool(self.steps % 2)
                carried = carried_in(self.dtype)
                return kx.LearnedRK.from_tableau(
                    self._tableau, self.steps, per_step=sizes, learn_steps=sizes, dtype=carried
                )
            case "adaptive" | "per sample":
                control = "joint" if self.method == "adaptive" else "per_sample"
                return kx.Adaptive(self._tableau, 0.1, control=control)
            case "diffrax":
                return kx.FromDiffrax(getattr(diffrax, self.scheme)(), 0.1)
            case "diffrax steps":
                return kx.FromDiffrax(getattr(diffrax, self.scheme)(), steps=self.steps)
        return getattr(kx, self.scheme)(self.steps)

    @property
    def _tableau(self) -> kx.Tableau:
        return getattr(kx.tableaus, self.scheme)


@dataclass(frozen=True)
class Case:
    """One solve: a block, and the numbers that differ.

    Attributes:
        family: The field; `p` its parameter.
        z0: The start in the field's own units, (samples, components).
        unit: The state's unit.
        rate: One over the unit of time; below zero backwards.
        t0, t1, ts: Times as they are handed to `solve`.
        rtol, atol: Tolerances, where there are any.
        shaken: How far a learned solver's parameters are from a classical tableau.
        throw: Whether the solve is to raise where it fails.
        key: Of noise.
    """

    block: Block
    family: Family
    p: float
    z0: np.ndarray
    unit: float
    rate: float
    t0: float
    t1: float
    ts: np.ndarray | None
    rtol: float
    atol: float
    shaken: float
    throw: bool
    key: int

    @classmethod
    def draw(cls, seed: int, number: int) -> "Case":
        """Case `number` of the fuzz run with this seed."""
        block, rng = Block.draw(seed, number // BLOCK), np.random.default_rng([seed, number])
        dtype, carried = block.dtype, carried_in(block.dtype)
        family = rng.choice(np.array(TIMED if block.timed else AUTONOMOUS, object))
        p = float(np.round(rng.uniform(0.3, 2), 3))
        z0 = _rounded_to(rng.uniform(0.1, 0.9, (1 if block.axis is None else _SAMPLES, _SIZE)), dtype)
        unit, length = _units(rng, dtype)
        if family.name in ("zero", "decay", "rotation") and rng.random() < 0.2:
            z0[:, rng.integers(_SIZE)] = 0
        span = rng.uniform(0.3, 5)
        alive = float(np.min(family.alive(z0, p)))
        if np.isfinite(alive):
            span = alive * rng.choice([rng.uniform(0.3, 0.9), rng.uniform(1.1, 3)])
        if block.method == "sde":
            family = AUTONOMOUS[1]
            p = p * float(rng.integers(2)) if block.scheme in ("EulerMaruyama", "StochasticHeun") else 0.0
        sign = -1.0 if rng.random() < 0.35 and block.method != "sde" else 1.0
        t0 = float(rng.choice([0.0, 0.0, -1.0, 5000.0, 1.7e9])) if length > 1e-4 else 0.0
        t1 = t0 + sign * span * length
        kind = (np.float64 if block.x64 else np.float32) if block.traced else np.float64
        t0, t1 = float(kind(t0)), float(kind(t1))
        ts = _outputs(rng, block, t0, t1, kind)
        least = least_rtol(dtype)
        loose = 1e-4 if block.scheme in ("MIDPOINT", "HEUN2", "RALSTON2", "Heun") else 0.0
        rtol = max(least, loose, float(10 ** rng.uniform(-9, -2))) * (1 if rng.random() < 0.97 else 0.1)
        atol = unit * float(rng.choice([0.0, 1e-2, 1.0])) * rtol
        shaken = float(rng.choice([0.0, 0.1, 1.0, 10.0]))
        unit, rate = float(_rounded_to(np.array(unit), carried)), float(_rounded_to(np.array(sign / length), carried))
        throw = bool(rng.integers(2)) and not block.traced
        return cls(block, family, p, z0, unit, rate, t0, t1, ts, rtol, atol, shaken, throw, number)

    def about(self) -> dict[str, Any]:
        """The case in words and numbers."""
        names = ("p", "unit", "rate", "t0", "t1", "rtol", "atol", "shaken", "throw")
        numbers = {name: getattr(self, name) for name in names}
        ts = None if self.ts is None else self.ts.tolist()
        return {**vars(self.block), "family": self.family.name, "z0": self.z0.tolist(), "ts": ts, **numbers}

    @property
    def times(self) -> np.ndarray:
        """0, the output times, the end, in the field's own units; outputs just beyond the end are at it."""
        ends = np.array([0.0, self.t1 - self.t0])
        inner = np.zeros(0) if self.ts is None else np.clip(self.ts - self.t0, ends.min(), ends.max())
        return np.concatenate([ends[:1], inner, ends[1:]]) * self.rate

    @property
    def solver(self) -> Any:
        """The solver with this case's numbers."""
        solver, block = self.block.solver, self.block
        if block.method in ("adaptive", "per sample", "diffrax"):
            return eqx.tree_at(lambda s: (s.rtol, s.atol), solver, tuple(map(np.asarray, (self.rtol, self.atol))))
        if block.method == "learned":
            rng = np.random.default_rng(self.key)
            shake = lambda x: x + jnp.asarray(self.shaken * rng.standard_normal(x.shape), x.dtype)
            return jax.tree.map(shake, solver)
        return solver

    @property
    def time_unit(self) -> float:
        """How far apart the times are that the field can tell, in its own units."""
        with np.errstate(all="ignore"):
            late = np.abs(np.array([self.t0, self.t1], jnp.dtype(self.block.dtype))).max()
            unit = float(np.spacing(late)) * abs(self.rate)
        return unit if unit < 1e30 else 1e30

    @property
    def coarse(self) -> bool:
        """Whether there are too few times between t0 and t1 for a field that depends on time."""
        needed = min(10_000, 1 / (32 * float(jnp.finfo(self.block.dtype).eps)))
        return self.block.timed and abs(self.times[-1]) < 1.01 * needed * self.time_unit

    @property
    def cannot_be(self) -> bool:
        """Whether the tolerances cannot work: rtol below what the dtype carries, no atol for an implicit solver."""
        strict = self.rtol < least_rtol(self.block.dtype)
        implicit = self.block.scheme.startswith("Kvaerno") and self.atol == 0
        return self.block.method in ("adaptive", "per sample", "diffrax") and (strict or implicit)

    @property
    def may_be_refused(self) -> bool:
        """Whether `UserError` is a right answer."""
        block, span = self.block, abs(self.t1 - self.t0)
        carried = np.finfo(carried_in(block.dtype))
        return bool(self.cannot_be or self.coarse or (0 < span < carried.tiny) or span > carried.max)


def _rounded_to(x: np.ndarray, dtype: Any) -> np.ndarray:
    return np.asarray(x).astype(jnp.dtype(dtype)).astype(np.float64)


def _units(rng: np.random.Generator, dtype: str) -> tuple[float, float]:
    """Units of the state and of time, such that a slope can be held too."""
    if rng.random() < 0.3:
        return 1.0, 1.0
    states, times = (2, 2) if dtype == "float16" else (30, 15)
    state, length = rng.uniform(-states, states), rng.uniform(-times, times)
    bound = 3 if dtype == "float16" else 33
    return float(10.0**state), float(10.0 ** np.clip(length, state - bound, state + bound))


def _outputs(rng: np.random.Generator, block: Block, t0: float, t1: float, kind: Any) -> np.ndarray | None:
    """Four output times."""
    if block.outputs == "none":
        return None
    shares = np.sort(rng.uniform(0, 1, 4))
    ts = np.clip(t0 + shares * (t1 - t0), min(t0, t1), max(t0, t1)).astype(kind)
    if block.outputs in ("from start", "both"):
        ts[0] = t0
    if block.outputs in ("to end", "both"):
        ts[-1] = t1
    if block.outputs == "beyond":
        ts[-1] = np.nextafter(kind(t1), kind(np.inf if t1 >= t0 else -np.inf))
    return ts.astype(np.float64)


_calls = 0


def _count() -> None:
    global _calls
    _calls += 1


def _field(families: tuple[Family, ...], counted: bool):
    """The field of all families: args["kind"] says which one, the others are its numbers."""

    def field(t, y, args):
        if counted:
            jax.debug.callback(_count)
        own = args["rate"] * (t - args["t0"]) if families is TIMED else 0 * args["rate"]
        slopes = [lambda t, z, p, f=f: f.slope(jnp, t, z, p) for f in families]
        z = y / args["unit"]
        return args["slope unit"] * jax.lax.switch(args["kind"], slopes, own, z, args["p"])

    return field


_FIELDS = {(timed, counted): _field((AUTONOMOUS, TIMED)[timed], counted) for timed in (0, 1) for counted in (0, 1)}
_NOISY = kx.SDE(
    lambda t, y, args: -args["p"] * args["rate"] * y,
    lambda t, y, args: args["noise"] * jnp.ones_like(y),
    noise="additive",
)


@eqx.filter_jit
def _solve_traced(field, y0, t0, t1, ts, solver, args, axis, key):
    return kx.solve(field, y0, t0, t1, solver=solver, args=args, ts=ts, batch_axis=axis, key=key, throw=False)


def _args(case: Case) -> dict[str, Any]:
    dtype, families = case.block.dtype, TIMED if case.block.timed else AUTONOMOUS
    kind = [f.name for f in families].index(case.family.name)
    numbers = {"rate": case.rate, "unit": case.unit, "slope unit": case.unit * case.rate, "t0": case.t0, "p": case.p}
    numbers["noise"] = case.unit * np.sqrt(abs(case.rate))
    with np.errstate(over="ignore"):  # a late start in half precision
        return {"kind": np.int32(kind)} | {name: jnp.asarray(x, dtype) for name, x in numbers.items()}


def _solve(case: Case) -> kx.Solution:
    """The solution that kuttax hands back, in NumPy arrays."""
    global _calls
    block = case.block
    y0 = jnp.asarray(case.z0 * case.unit, block.dtype)
    y0 = y0[0] if block.axis is None else jnp.moveaxis(y0, 0, block.axis)
    field = _NOISY if block.method == "sde" else _FIELDS[block.timed, block.counted]
    key = jax.random.key(case.key) if block.method == "sde" else None
    _calls = 0
    if block.traced:
        kind = jnp.float64 if block.x64 else jnp.float32
        t0, t1 = jnp.asarray(case.t0, kind), jnp.asarray(case.t1, kind)
        ts = None if case.ts is None else jnp.asarray(case.ts, kind)
        sol = _solve_traced(field, y0, t0, t1, ts, case.solver, _args(case), block.axis, key)
    else:
        given = {"solver": case.solver, "args": _args(case), "ts": case.ts, "batch_axis": block.axis, "key": key}
        sol = kx.solve(field, y0, case.t0, case.t1, throw=case.throw, **given)
    jax.effects_barrier()
    return jax.tree.map(np.asarray, sol)


def try_case(seed: int, number: int) -> Outcome:
    """Solve a case and look at what comes back."""
    case = Case.draw(seed, number)
    with jax.enable_x64(case.block.x64), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = _solve(case)
        except kx.UserError as error:
            fault = None if case.may_be_refused else f"refused, although it can be solved: {error}"
            return Outcome("refused", fault, case.about())
        except kx.SolveError as error:
            return Outcome(error.status.name, _needless(case, np.array([int(error.status)])), case.about())
        return _judge(case, found)


def _judge(case: Case, sol: kx.Solution) -> Outcome:
    block, unit = case.block, case.unit
    states = [sol.y1] if sol.ys is None else [*sol.ys, sol.y1]
    found = np.stack([_samples_first(x, block.axis) for x in states]).astype(np.float64) / unit
    status = np.atleast_1d(sol.status)
    worst = int(status.max())
    truth = _truth(case, sol)
    faults = []
    if sol.y1.dtype != jnp.dtype(block.dtype):
        faults.append(f"y1 is {sol.y1.dtype}")
    per_sample = np.broadcast_to(status, found.shape[1:2])
    right = (np.abs(found - truth.states) <= truth.bounds[..., None]).all(-1)  # (times, samples); NaN is not right
    known = np.isfinite(truth.bounds)  # one that is infinite says nothing
    finite = np.isfinite(found).all(-1)
    ok = per_sample == 0
    if not finite[:, ok].all():
        faults.append("status ok, and a number is not finite")
    if (known & finite & ~right).any():
        at, sample = np.argwhere(known & finite & ~right)[0]
        pair = f"{found[at, sample]} in place of {truth.states[at, sample]} within {truth.bounds[at, sample]:.2g}"
        faults.append(f"status {kx.Status(per_sample[sample]).name}, output {at} of sample {sample}: {pair}")
    if not np.isnan(found[-1][~ok]).all():
        faults.append("the solve failed, and y1 is not NaN")
    if (needless := _needless(case, status)) is not None:
        faults.append(needless)
    if block.counted and sol.stats.nfe is not None and int(sol.stats.nfe) != _calls:
        faults.append(f"nfe is {int(sol.stats.nfe)}, and the field was evaluated {_calls} times")
    if truth.calls is not None and worst == 0 and int(sol.stats.nfe) != truth.calls:
        faults.append(f"nfe is {int(sol.stats.nfe)}, and the same method in NumPy takes {truth.calls}")
    return Outcome(kx.Status(worst).name, "; ".join(faults) or None, case.about())


def _samples_first(x: np.ndarray, axis: int | None) -> np.ndarray:
    return x[None] if axis is None else np.moveaxis(x, axis, 0)


@dataclass(frozen=True)
class Truth:
    """States at the output times and the end, (times, samples, components); bounds on the distance from them, (times,
    samples), infinite where nothing can be said; and evaluations of the field, where they are known beforehand."""

    states: np.ndarray
    bounds: np.ndarray
    calls: int | None = None


def _truth(case: Case, sol: kx.Solution) -> Truth:
    if case.block.method == "sde":
        return _on_path(case)
    method = _method(case)
    return _closed_form(case, sol) if method is None else _same_method(case, method)[0]


def _needless(case: Case, status: np.ndarray) -> str | None:
    """What is wrong about a failure, where the problem can be solved."""
    if not status.any():
        return None
    block, times = case.block, case.times
    name = kx.Status(int(status.max())).name
    with np.errstate(all="ignore"):
        ends_before = np.isnan(case.family.flow(times[-1], case.z0, case.p)).any()
    if case.may_be_refused or ends_before:
        return None
    method = None if block.method == "sde" else _method(case)
    if method is not None:
        largest = _same_method(case, method)[1]
        room = np.log10(np.finfo(np.float32).max) - 2 if block.dtype != "float16" else 4
        with np.errstate(divide="ignore"):  # a solution that is zero
            fits = np.log10(largest * case.unit * max(1, abs(case.rate))) < room
        if fits and not (block.method == "learned" and name == "ill_conditioned"):
            return f"it failed ({name}), and the same method in NumPy does not"
        return None
    if case.atol == 0 and name == "step_underflow":  # no relative tolerance can be kept where a component passes zero
        return None
    alive = case.family.alive(case.z0, case.p)
    failed = np.broadcast_to(status != 0, alive.shape)
    hurt = alive if status.size > 1 else np.full_like(alive, alive.min())  # of all samples by one of them
    if block.method == "sde" or (failed & (times[-1] < 0.95 * hurt)).any():
        return f"it failed ({name}), and it can be solved"
    return None


def _method(case: Case) -> Coefficients | None:
    """The method in NumPy; None where steps are adaptive."""
    block = case.block
    if block.method == "learned":
        table = case.solver.table(carried_in(block.dtype))
        return Coefficients(*(np.asarray(x, np.float64) for x in (table.a, table.b, table.h)))
    if block.method not in ("fixed", "reversible", "diffrax steps"):
        return None
    tableau = _SAME[block.scheme] if block.method == "diffrax steps" else getattr(kx.tableaus, block.scheme)
    rows = [np.repeat(x[None], block.steps, 0) for x in (tableau.a, tableau.b)]
    kind = Coupled if block.method == "reversible" else Coefficients
    return kind(*rows, np.full(block.steps, 1 / block.steps))


def _rounding(case: Case) -> Rounding:
    field, carried = (float(jnp.finfo(kind).eps) for kind in (case.block.dtype, carried_in(case.block.dtype)))
    return Rounding(3 * field, 2 * carried, case.time_unit if case.block.timed else 0.0)


def _same_method(case: Case, method: Coefficients) -> tuple[Truth, float]:
    """What the method makes of it in NumPy, and the largest number on the way."""
    slope = lambda t, z: case.family.slope(np, t, z, case.p)
    f = Noisy(slope, _rounding(case), np.random.default_rng(case.key))
    states = np.stack(through(method, f, case.z0, list(case.times)))
    reference = states[:, 0]
    with np.errstate(all="ignore"):
        spread = np.abs(states - reference[:, None]).max((1, 3))
        size = np.abs(reference).max(-1)
    bounds = 10 * spread + 3 * _output_rounding(case) * size + _least(case)
    unsure = np.isnan(states).any((1, 3)) != np.isnan(states).all((1, 3))  # the draws do not agree that it is NaN
    bounds = np.where(unsure | ~np.isfinite(bounds), np.inf, bounds)
    bounds = np.where(np.isnan(states).any(-1).all(1), 0, bounds)  # nothing but NaN is right
    largest = np.inf if not np.isfinite(reference).all() or unsure.any() else f.largest
    calls = f.calls if case.block.method in ("fixed", "reversible", "learned") and not case.block.traced else None
    return Truth(np.where(np.isfinite(reference), reference, np.nan), bounds, calls), largest


def _output_rounding(case: Case) -> float:
    return float(jnp.finfo(case.block.dtype).eps)


def _least(case: Case) -> float:
    """What is lost where numbers become too small for the dtype."""
    return 1e3 * float(jnp.finfo(case.block.dtype).tiny) / case.unit


def _closed_form(case: Case, sol: kx.Solution) -> Truth:
    """The closed form, and how far the tolerance, the steps and the dtype let the numbers be from it."""
    family, times, z0, p = case.family, case.times[1:], case.z0, case.p
    with np.errstate(all="ignore"):
        on = np.linspace(0, 1, 50)[:, None] * times  # where the solution has been before each output
        paths = np.stack([family.flow(t, z0, p) for t in on.ravel()]).reshape(*on.shape, *z0.shape)
        states, growth = paths[-1], np.stack([family.spread(t, z0, p) for t in times])
        size = np.abs(paths).max((0, -1))
        points = zip(on.ravel(), paths.reshape(-1, *z0.shape), strict=True)
        slopes = np.stack([family.slope(np, t, z, p) for t, z in points])
        steep = np.abs(slopes).reshape(paths.shape).max((0, -1))
    steps = np.broadcast_to(np.atleast_1d(sol.stats.accepted), z0.shape[:1]) + 1.0
    if case.block.method != "per sample":  # one norm for all
        size = np.broadcast_to(size.max(-1, keepdims=True), size.shape)
    rounding = _rounding(case)
    factor = np.full(len(times), _OUTPUT_ERRORS)
    factor[-1] = _STEP_ERRORS
    tolerance = np.sqrt(z0.size) * (case.atol / case.unit + case.rtol * size)
    lost = rounding.field * (size + steep * times[:, None]) + rounding.sums * steps * size
    lost = lost + rounding.time * (1 + times[:, None]) * 12 * (steep + size)
    bounds = growth * (factor[:, None] * steps * tolerance + 4 * lost)
    if case.coarse:  # known too late to be refused: the field cannot tell the times
        bounds = np.full_like(bounds, np.inf)
    alive = family.alive(z0, p)
    bounds = np.where(np.abs(times[:, None] / alive - 1) < 0.02 + 10 * case.rtol, np.inf, bounds)  # it ends about there
    return Truth(states, np.where(np.isnan(bounds), 0, bounds + _output_rounding(case) * size + _least(case)))


def _on_path(case: Case) -> Truth:
    """Euler-Maruyama, or Heun's method, on the case's own path, in NumPy."""
    block = case.block
    shapes = jax.ShapeDtypeStruct((_SIZE,) if block.axis is None else (_SAMPLES, _SIZE), carried_in(block.dtype))
    path = kx.BrownianPath(jax.random.key(case.key), shapes)
    draw = jax.jit(jax.vmap(lambda n: path.increment(n).w))
    noise = np.asarray(draw(jnp.arange(block.steps * len(case.times), dtype=jnp.int32)), np.float64)
    z, cell, states, size = case.z0, 0, [], np.abs(case.z0).max()
    for start, end in itertools.pairwise(case.times):
        h = (end - start) / block.steps
        for _ in range(block.steps if h else 0):
            dw = np.sqrt(h) * noise[cell].reshape(z.shape)
            k = -case.p * z
            if block.scheme == "StochasticHeun":
                k = (k - case.p * (z + h * k + dw)) / 2
            z, cell = z + h * k + dw, cell + 1
            size = max(size, np.abs(z).max())
        states.append(z)
    rounding = _rounding(case)
    unit = 4 * (rounding.field * (2 + abs(case.times[-1]) * case.p) + rounding.sums * (cell + 1)) * size
    states = np.stack(states)
    return Truth(states, np.full(states.shape[:2], unit + _least(case)))
