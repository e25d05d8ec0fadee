"""Export of fixed-NFE schemes: NumPy arrays, NumPy and PyTorch programs, LaTeX."""

from typing import NamedTuple

import numpy as np

from ..distillation.precision import double_precision
from ..errors import UserError
from ..solvers.base.solver import title
from ..solvers.rk.fixed import AbstractTableSolver


class NumpyTable(NamedTuple):
    """A scheme in float64: A (N, s, s), b (N, s), c (N, s), and the steps as fractions of the interval (N,).

    `scale`, (N, s + 1), has the factors of a step's first state in each stage and at the end: one, except in a sampler.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    h: np.ndarray
    scale: np.ndarray


def to_numpy(solver: AbstractTableSolver) -> NumpyTable:
    """The coefficients of every step of `FixedSteps` or `LearnedRK`.

    Raises:
        UserError: The solver is not a fixed-step table.
    """
    if not isinstance(solver, AbstractTableSolver):
        mend = ": give its .solver" if isinstance(getattr(solver, "solver", None), AbstractTableSolver) else ""
        kind = type(solver).__name__
        raise UserError(f"only FixedSteps and LearnedRK are tables that can be exported, got {kind}{mend}")
    with double_precision():  # a classical table in full, whatever JAX's flag
        table = solver.table(solver.exact_dtype())
    n, s = table.b.shape
    scale = np.ones((n, s + 1)) if table.scale is None else np.asarray(table.scale)[None]
    return NumpyTable(*(np.asarray(x, np.float64) for x in (table.a, table.b, table.c, table.h, scale)))


def as_literals(table: NumpyTable) -> str:
    """The arrays as assignments of nested lists, `A = [...]` and so on: source code that needs no library."""
    return "\n".join(f"{name.upper()} = {x.tolist()!r}" for name, x in table._asdict().items())


def to_numpy_source(solver: AbstractTableSolver) -> str:
    """A Python module that needs only NumPy: the coefficients, and `integrate(f, y, t0, t1)`."""
    table = to_numpy(solver)
    arrays = "\n".join(f"{name.upper()} = np.array({x.tolist()!r})" for name, x in table._asdict().items())
    return f'''"""{title(solver)}. Written by kuttax."""

import numpy as np

{arrays}


def integrate(f, y, t0, t1):
    """The state at t1 of dy/dt = f(t, y) that starts as y at t0; meant for the interval it was trained on."""
    t = t0
    for a, b, c, share, scale in zip(A, B, C, H, SCALE):
        h, k = share * (t1 - t0), []
        for i in range(len(b)):
            k.append(f(t + c[i] * h, scale[i] * y + h * sum((a[i, j] * k[j] for j in range(i)), start=0.0)))
        y, t = scale[-1] * y + h * sum(b[i] * k[i] for i in range(len(b))), t + h
    return y
'''


def to_torch_source(solver: AbstractTableSolver) -> str:
    """A Python module that needs only PyTorch: the coefficients, `integrate(f, y, t0, t1)`, and `odeint(f, y0, t)`.

    `odeint` and `odeint_adjoint` have the arguments and results of torchdiffeq's: `f(t, y)`, a tensor or a tuple of
    tensors, and times of shape (times,); they return the states at these times along a new leading axis. `rtol`,
    `atol`, `method`, `options` and the adjoint's options change nothing, and warn so. Every interval of `t` runs the
    whole table. Autograd differentiates with respect to y, t and the parameters of f. If the solver knows the interval
    it was trained for, an interval of another length warns.

    Raises:
        UserError: The solver is not a fixed-step table.
    """
    table = to_numpy(solver)
    numbers = as_literals(table)
    meant = solver.meant_for()
    return f'''"""{title(solver)}. Written by kuttax."""

import warnings

import torch

TRAINED_FOR = {meant!r}  # the interval (t0, t1), or None for any
{numbers}


def integrate(f, y, t0, t1):
    """The state at t1 of dy/dt = f(t, y) that starts as y, a tensor or a tuple of them, at t0.

    t0 and t1 are numbers or scalar tensors.
    """
    if not isinstance(y, torch.Tensor):
        f, y, parts = _joined(f, y)
        return parts(integrate(f, y, t0, t1))
    t0, t1 = (torch.as_tensor(time, dtype=y.real.dtype, device=y.device) for time in (t0, t1))
    if TRAINED_FOR is not None:
        meant, length = TRAINED_FOR[1] - TRAINED_FOR[0], float(t1 - t0)
        if length and abs(length - meant) > 1e-4 * abs(meant):
            warnings.warn(f"this solver was trained for an interval of length {{meant:g}}, not {{length:g}}")
    t = t0
    for a, b, c, share, scale in zip(A, B, C, H, SCALE):
        h, k = share * (t1 - t0), []
        for i in range(len(b)):
            k.append(f(t + c[i] * h, _add(scale[i] * y, h, a[i], k)))
            if k[-1].shape != y.shape:
                raise ValueError(f"f must return a slope like y, {{tuple(y.shape)}}, got {{tuple(k[-1].shape)}}")
        y, t = _add(scale[-1] * y, h, b, k), t + h
    return y


def _add(y, h, weights, k):
    """y + h sum_j weights[j] k[j]."""
    for weight, slope in zip(weights, k):
        if weight:
            y = y + weight * h * slope
    return y


def odeint(f, y0, t, *, rtol=None, atol=None, method=None, options=None, event_fn=None, **adjoint):
    """The states at the times t, with the signature of torchdiffeq.odeint, and that of odeint_adjoint."""
    if event_fn is not None:
        raise ValueError("this solver has no events: leave event_fn out")
    if unknown := [name for name in adjoint if not name.startswith("adjoint_")]:
        raise TypeError(f"odeint got an unexpected argument {{unknown[0]!r}}")
    given = {{"rtol": rtol, "atol": atol, "method": method, "options": options, **adjoint}}
    ignored = [name for name, value in given.items() if value is not None]
    if ignored:
        warnings.warn(f"this solver has fixed coefficients and steps: {{', '.join(ignored)}} changed nothing")
    return _solved(f, y0, t)


odeint_adjoint = odeint  # autograd goes through the steps, and gives their exact gradient


def _solved(f, y0, t):
    """The states at the times t."""
    if not isinstance(y0, torch.Tensor):
        f, y0, parts = _joined(f, y0)
        return tuple(torch.stack(part) for part in zip(*map(parts, _solved(f, y0, t))))
    ys = [y0]
    for t0, t1 in zip(t[:-1], t[1:]):
        ys.append(integrate(f, ys[-1], t0, t1))
    return torch.stack(ys)


def _joined(f, y):
    """A function of tuples of tensors, and its state, as those of one tensor; and how to take the tensor apart."""
    sizes, shapes = [part.numel() for part in y], [part.shape for part in y]

    def parts(flat):
        return tuple(x.reshape(shape) for x, shape in zip(flat.split(sizes), shapes))

    def joint(state):
        return torch.cat([x.reshape(-1) for x in state])

    return lambda t, y: joint(f(t, parts(y))), joint(y), parts
'''


def to_latex(solver: AbstractTableSolver, digits: int = 6) -> str:
    """The Butcher tableau of each distinct step as a LaTeX `array`, to `digits` significant digits."""
    table = to_numpy(solver)
    if not solver.consistent:
        raise UserError("a sampler has no Butcher tableau, for its stages scale the first state: export a program")
    same = all(np.array_equal(x[0], row) for x in table for row in x)
    count = 1 if same else len(table.h)
    steps = [NumpyTable(*(x[n] for x in table)) for n in range(count)]
    return "\n\n".join(_butcher(x, None if same else n + 1, digits) for n, x in enumerate(steps)) + "\n"


def _butcher(row: NumpyTable, step: int | None, digits: int) -> str:
    a, b, c, h, _ = row

    def show(x: float) -> str:
        return f"{x:.{digits}g}" if abs(x) >= 10.0**-digits or x == 0 else "0"

    s = len(b)
    lines = (
        [f"% step {step}, h = {show(float(h))} T"] if step is not None else [f"% every step, h = {show(float(h))} T"]
    )
    lines.append(r"\begin{array}{c|" + "c" * s + "}")
    for i in range(s):
        cells = [show(a[i, j]) if j < i else "" for j in range(s)]
        lines.append(" & ".join([show(c[i]), *cells]) + r" \\")
    lines.append(r"\hline")
    lines.append(" & ".join(["", *(show(x) for x in b)]))
    lines.append(r"\end{array}")
    return "\n".join(lines)
