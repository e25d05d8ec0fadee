"""The field of `solve`: its functions, and their checks."""

import inspect
import sys
from typing import Any

import equinox as eqx
import jax

from .._types import VectorField
from ..errors import UserError
from ..solvers.base.problem import Problem
from ..solvers.sde.sde import SDE


def functions_of(field: Any) -> tuple[VectorField, ...]:
    """The field itself, or drift and diffusion."""
    return (field.drift, field.diffusion) if isinstance(field, SDE) else (field,)


def on_whole_state(problem: Problem) -> list[VectorField]:
    """The functions of the user's field, unchanged."""
    return [problem.on_samples(function) for function in functions_of(problem.field)]


def check_field(field: Any) -> None:
    """Refuse a field that is not a function of (t, y, args), before JAX fails with a less clear message."""
    names = ("drift", "diffusion") if isinstance(field, SDE) else ("field",)
    for name, function in zip(names, functions_of(field), strict=True):
        check_function(name, function)


def check_function(name: str, function: Any) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(function, torch.nn.Module):
        raise UserError(
            f"the {name} is a PyTorch module, {type(function).__name__}: wrap it, as in kx.from_torch(module)"
        )
    if not callable(function):
        raise UserError(f"the {name} must be a function f(t, y, args), got {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(*_ARGUMENTS)
    except TypeError as error:
        got = getattr(function, "__name__", type(function).__name__)
        raise UserError(
            f"the {name} must be a function f(t, y, args), and {got} cannot be called so ({error}): "
            "wrap it, as in lambda t, y, args: model(y)"
        ) from None


_ARGUMENTS = ("t", "y", "args")


def check_slope(problem: Problem) -> None:
    """Check that the field's value has the shape of the state; here the message can name the field."""
    stochastic = isinstance(problem.field, SDE)
    name, field = ("drift", problem.field.drift) if stochastic else ("field", problem.field)
    field = problem.on_samples(field)
    slope = eqx.filter_eval_shape(field, problem.t0.astype(problem.precision), problem.y0, problem.args)
    expected = jax.eval_shape(lambda y: y, problem.y0)
    same = jax.tree.structure(slope) == jax.tree.structure(expected) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(expected), strict=True)
    )
    if not same:
        show = lambda tree: jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)
        raise UserError(f"the {name} must return a slope like the state, {show(expected)}, got {show(slope)}")
