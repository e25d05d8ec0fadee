"""from_torch: a PyTorch module, or function of tensors, as a vector field."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..arrays import as_jax
from ..callbacks import told
from ..errors import UserError
from ..kinds import checked_count, named_class
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import DOPRI5
from .call import torch_call
from .host import Host
from .imported import imported


class TorchField:
    """A field `f(t, y, args)` that PyTorch evaluates; made by `kx.from_torch`.

    It is frozen: derivatives in the time, the state and the args are PyTorch's, and there are none in the weights.
    """

    def __init__(self, host: Host):
        self._host = host

    def __call__(self, t: Any, y: PyTree, args: Any = None) -> PyTree:
        """The slope, shaped like y.

        Args:
            t: The time.
            y: The state, a pytree of arrays.
            args: None, or a dict of keyword arguments of the PyTorch function.
        """
        if not (args is None or (isinstance(args, dict) and all(isinstance(name, str) for name in args))):
            raise UserError(
                f"args of a PyTorch field must be a dict of its keyword arguments, got {type(args).__name__}: "
                "write args={'name': value}"
            )
        t, y, args = as_jax((t, y, args or {}))
        arrays, constants = eqx.partition((jnp.asarray(t), y, args), eqx.is_array)
        return jax.tree.unflatten(jax.tree.structure(y), torch_call(self._host, arrays, constants, y))

    def teacher(self) -> AbstractSolver:
        """DOPRI5 at a tolerance that the field's precision allows; one step size for all samples, if they share t."""
        tolerance = 1e-8 if self._host.precise else 1e-6
        return Adaptive(DOPRI5, tolerance, tolerance, control="per_sample" if self._host.per_sample_time else "joint")

    def look(self, t: Any, y: PyTree, args: Any = None, args_axes: Any = None) -> None:
        """Look whether the function has the derivatives that PyTorch would compute.

        Args:
            t: A time.
            y: A batch of states.
            args: As for a call.
            args_axes: The axes of args that count the states, as `in_axes` of `jax.vmap`.

        Raises:
            UserError: It has noise, or hides from PyTorch how it depends on the state.
        """
        y = jax.tree.map(jnp.asarray, y)
        slopes = jax.vmap(lambda y, args: self(t, y, args), (0, args_axes))
        with told():
            jax.block_until_ready(jax.jvp(lambda y: slopes(y, args), (y,), (y,)))

    def __repr__(self) -> str:
        return f"from_torch({self._host.name})"


def from_torch(
    module: Callable[..., Any], *, per_sample_time: bool = False, device: Any = None, dtype: Any = None, rows: int = 256
) -> TorchField:
    """A PyTorch module, or a function of tensors, as a vector field for `solve`, `certify` and `distill`.

    The field computes in PyTorch, in the dtype and on the device of its parameters. Under `batch_axis`, and in
    `distill`, a whole batch of states is one call. On a CPU the tensors share their memory with JAX's arrays.
    Derivatives are exact (`torch.func`), in forward and in reverse mode; second derivatives are not available. The
    weights are not trained: train them in PyTorch, before or between solves.

    Args:
        module: `module(t, y, **args)` returns dy/dt, shaped like y. t is a tensor without axes. y has a leading axis of
            samples under `batch_axis`; without it, y is the whole state as you gave it. Entries of the dict `args`
            are keyword arguments, such as a class label or a guidance scale. Put the module into `eval()` mode first:
            dropout and batch statistics would make it another function at each call.
        per_sample_time: Whether the module takes t of shape (samples,). Needed where each sample has its own times or
            its own steps.
        device: The device of the tensors; None for that of the first parameter, or else the CPU.
        dtype: The `torch.dtype` that floating-point tensors have; None for that of the first parameter. Give it for a
            function that is no module, but calls one: without it, the tensors have the dtype of the state.
        rows: The largest number of samples in one call that computes derivatives; it bounds their memory. If the
            samples of a batch depend on each other, it must be at least their number.

    Raises:
        UserError: PyTorch is not installed, `module` cannot be called, or an option is invalid.
    """
    torch = imported()
    if not callable(module):
        raise UserError(f"from_torch takes a torch.nn.Module or a function f(t, y), got {type(module).__name__}")
    rows = checked_count("rows", rows)
    if isinstance(module, type):
        raise UserError(f"from_torch takes a module, got {named_class(module)}")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise UserError(f"dtype must be a torch.dtype, got {dtype!r}: write dtype=torch.float32")
    try:
        torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise UserError(f"device must be one of PyTorch's, such as 'cpu' or 'cuda:0', got {device!r}") from None
    if isinstance(module, torch.nn.Module) and module.training and _changes_in_training(module):
        raise UserError("the module is in training mode, and has dropout or batch normalisation: call module.eval()")
    return TorchField(Host(module, per_sample_time, device, dtype, rows))


def _changes_in_training(module: Any) -> bool:
    """Whether a layer computes something else in training mode."""
    noisy = ("Drop", "BatchNorm", "InstanceNorm", "RReLU", "StochasticDepth")
    drops = lambda layer: isinstance(share := getattr(layer, "dropout", None), float) and share > 0
    return any(drops(layer) or any(name in type(layer).__name__ for name in noisy) for layer in module.modules())
