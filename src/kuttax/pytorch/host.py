"""The PyTorch side of a call: the value of a function of tensors, and its derivatives along tangents and cotangents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np

from ..callbacks import noted
from ..errors import UserError
from .imported import imported
from .trust import refuse_coupled, refuse_unfit

Kind = Literal["value", "tangent", "cotangent"]


class Host:
    """A PyTorch function, and how it wants its tensors.

    Attributes:
        function: `function(t, y, **args)`.
        per_sample_time: Whether it takes times of shape (samples,).
        device: The device of its tensors.
        dtype: The dtype that floating-point tensors are cast to; None for none.
        rows: The largest number of samples in one call that computes derivatives.
        trusted: Whether derivatives were looked at before.
        apart: Whether it was seen that samples do not depend on each other.
    """

    def __init__(self, function: Callable[..., Any], per_sample_time: bool, device: Any, dtype: Any, rows: int):
        torch = imported()
        own = [*function.parameters(), *function.buffers()] if isinstance(function, torch.nn.Module) else []
        floating = [p.dtype for p in own if p.is_floating_point()]
        self.function, self.per_sample_time, self.rows = function, per_sample_time, rows
        self.dtype = dtype or (floating[0] if floating else None)
        self.device = torch.device(device or (own[0].device if own else "cpu"))
        self.trusted = self.apart = False

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def precise(self) -> bool:
        """Whether it computes in float64 if the state does."""
        return self.dtype in (None, imported().float64)

    def tensor(self, x: np.ndarray) -> Any:
        """An array as a tensor; on a CPU it shares the array's memory where the dtypes agree.

        Whole numbers of 32 bits, which are JAX's usual ones, become those of 64 bits, which PyTorch takes as indices.
        """
        x = np.asarray(x)
        if x.dtype.kind == "V":  # bfloat16 is no dtype of NumPy's own
            x = x.astype(np.float32)
        if x.dtype == np.int32:
            x = x.astype(np.int64)
        found = imported().from_numpy(np.asarray(_Shared(x))).to(self.device)
        return found.to(self.dtype) if self.dtype is not None and found.is_floating_point() else found


class _Shared:
    """The memory of an array that may be marked as read-only: PyTorch has no such tensors.

    `Call` notices if a function writes into its inputs.
    """

    def __init__(self, x: np.ndarray):
        self.array = np.asarray(x, order="C")
        interface = self.array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False), "strides": None}


@dataclass(frozen=True)
class Asked:
    """What is asked of a call. Operands are the inputs, then the tangents of `wrt` or the cotangents of the results.

    Attributes:
        kind: The operation.
        mapped: Which operands have rows, samples of one batch.
        led: Which operands have directions, before the rows; inputs have none.
        rows, directions: Their numbers; None without.
        wrt: The inputs that have tangents, or whose cotangents are computed.
    """

    kind: Kind
    mapped: tuple[bool, ...]
    led: tuple[bool, ...]
    rows: int | None = None
    directions: int | None = None
    wrt: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Call:
    """A function with the structure of its inputs. JAX compares it by identity.

    Attributes:
        host: The function.
        structure: Of the arrays in (t, y, args), flat: t, the leaves of y, those of args.
        constants: (t, y, args) with what is no array, and None elsewhere.
        states: The number of leaves of y.
        dtypes: Of the result's leaves.
    """

    host: Host
    structure: Any
    constants: Any
    states: int
    dtypes: tuple[np.dtype, ...]

    @property
    def inputs(self) -> int:
        """The number of arrays in (t, y, args)."""
        return self.structure.num_leaves

    def by_row(self, n: int, mapped: Sequence[bool]) -> bool:
        """Whether the derivative in input n is known for each row: not in args that all rows share."""
        return n <= self.states or mapped[n]

    def run(self, asked: Asked, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The results of one operation, in pieces of at most `host.rows` rows if it is a derivative."""
        with noted(), _named(self.host.name):
            tensors = [self.host.tensor(x) for x in operands]
            if asked.kind != "value":
                self._look(asked, tensors)
            if asked.rows is None or asked.kind == "value" or asked.rows <= self.host.rows:
                found = Piece(self, asked, tensors).results()
            else:
                found = self._joined(asked, tensors)
            arrays = [_array(x) for x in found]
        dtypes = [operands[n].dtype for n in asked.wrt] if asked.kind == "cotangent" else self.dtypes
        return tuple(np.asarray(x, dtype, order="C") for x, dtype in zip(arrays, dtypes, strict=True))

    def _look(self, asked: Asked, tensors: Sequence[Any]) -> None:
        """Before the first derivatives, look at what would make them wrong without an error.

        Raises:
            UserError: They would be wrong.
        """
        n, name, rows = self.inputs, self.host.name, asked.rows
        plain = replace(asked, kind="value", mapped=asked.mapped[:n], led=(False,) * n, directions=None, wrt=())
        whole = first = Piece(self, plain, tensors[:n])
        if rows is not None and rows > self.host.rows:
            given = zip(tensors[:n], plain.mapped, strict=True)
            part = [x.narrow(0, 0, self.host.rows) if mapped else x for x, mapped in given]
            first = Piece(self, replace(plain, rows=self.host.rows), part)
        if not self.host.trusted:
            refuse_unfit(name, first.slope, first.inputs, range(1, self.states + 1))
            self.host.trusted = True
        if rows is not None and first is not whole and not self.host.apart:
            refuse_coupled(name, whole.results(), first.results(), rows)
            self.host.apart = True

    def _joined(self, asked: Asked, tensors: Sequence[Any]) -> Sequence[Any]:
        """The results of all pieces."""
        flags, most, pieces = list(zip(tensors, asked.mapped, asked.led, strict=True)), self.host.rows, []
        for start in range(0, asked.rows or 0, most):
            rows = min(most, (asked.rows or 0) - start)
            part = [x.narrow(int(led), start, rows) if mapped else x for x, mapped, led in flags]
            pieces.append(Piece(self, replace(asked, rows=rows), part).results())
        tangent, axis = asked.kind == "tangent", int(asked.directions is not None)
        whole = [True] * self.states if tangent else [self.by_row(n, asked.mapped) for n in asked.wrt]
        join = lambda parts, by_row: imported().cat(parts, axis) if by_row else sum(parts)
        return [join(parts, by_row) for parts, by_row in zip(zip(*pieces, strict=True), whole, strict=True)]


def _shapes(tree: Any) -> Any:
    """The shapes of tensors, and the types of what is none."""
    torch = imported()
    return jax.tree.map(lambda x: tuple(x.shape) if torch.is_tensor(x) else type(x).__name__, tree)


def _array(x: Any) -> np.ndarray:
    """A tensor as an array; NumPy has no bfloat16."""
    narrow = x.dtype == imported().bfloat16
    return (x.detach().float() if narrow else x.detach()).cpu().numpy()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Raise PyTorch's errors as the user's, with the function's name."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the PyTorch field {name} fails ({type(error).__name__}): {error}") from error


class Piece:
    """The operands of one call of PyTorch, with the inputs as the function takes them.

    The state always has rows if there are any. The time has them only if the function wants them.

    Args:
        call: The call.
        asked: What is asked of it.
        tensors: The operands.
    """

    def __init__(self, call: Call, asked: Asked, tensors: Sequence[Any]):
        self.call, self.asked = call, asked
        n, states = call.inputs, range(1, call.states + 1)
        rows = lambda k: self._by_row(tensors[k], asked.mapped[k])
        self.inputs = [self._time(tensors[0]), *(rows(k) if k in states else tensors[k] for k in range(1, n))]
        self.whole = [x.ndim > 0 if k == 0 else k in states or asked.mapped[k] for k, x in enumerate(self.inputs)]
        self.extra, self.mapped, self.led = tensors[n:], asked.mapped[n:], asked.led[n:]

    def results(self) -> Sequence[Any]:
        """The results of the operation."""
        torch = imported()
        if self.asked.kind == "value":
            with torch.no_grad():
                return self.slope(self.inputs, checked=True)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # it has all derivatives
            along = self._tangent() if self.asked.kind == "tangent" else self._cotangent()
            return self._in_all_directions(along)

    def _by_row(self, x: Any, mapped: bool) -> Any:
        """A tensor with rows, if there are any."""
        rows = self.asked.rows
        return x if rows is None or mapped else x.expand(rows, *x.shape).contiguous()

    def _time(self, t: Any) -> Any:
        """The time as the function takes it."""
        if self.asked.rows is None:
            return t
        if self.call.host.per_sample_time:
            return self._by_row(t, self.asked.mapped[0])
        if not self.asked.mapped[0]:
            return t
        if bool((t == t[0]).all()):
            return t[0]
        name = self.call.host.name
        raise UserError(
            f"the samples are at different times, and {name} takes one time for all: solve with common times and "
            "steps (control='joint'), or pass per_sample_time=True to kx.from_torch if it takes t of shape (samples,)"
        )

    def slope(self, inputs: Sequence[Any], checked: bool = False) -> tuple[Any, ...]:
        """The leaves of the function's value."""
        call = self.call
        t, y, args = eqx.combine(jax.tree.unflatten(call.structure, inputs), call.constants)
        versions = [x._version for x in inputs] if checked else []
        slope = self._called(t, y, args) if checked else call.host.function(t, y, **args)
        if checked and [x._version for x in inputs] != versions:
            raise UserError(f"{call.host.name} writes into its inputs: let it work on a copy (y = y.clone())")
        if checked and _shapes(slope) != _shapes(y):
            raise UserError(
                f"{call.host.name} must return a slope like the state, {_shapes(y)}, got {_shapes(slope)}: wrap it, as "
                "in lambda t, y: module(y, t).sample"
            )
        leaves = tuple(jax.tree.leaves(slope))
        pairs = zip(leaves, jax.tree.leaves(y), strict=True)
        if checked and any(a.is_complex() and not b.is_complex() for a, b in pairs):
            raise UserError(
                f"{call.host.name} returns complex numbers for a real state: return what is meant, as in .real"
            )
        return leaves

    def _called(self, t: Any, y: Any, args: dict[str, Any]) -> Any:
        """The function's value, or an error that says for which shapes it fails."""
        try:
            return self.call.host.function(t, y, **args)
        except Exception as error:
            name, kind = self.call.host.name, type(error).__name__
            given = f"t of shape {_shapes(t)} and y of shape {_shapes(y)}"
            raise UserError(f"the PyTorch field {name} fails for {given} ({kind}): {error}") from error

    def _of(self, chosen: Sequence[int]) -> Callable[..., tuple[Any, ...]]:
        """The value as a function of some of the inputs."""

        def function(*given: Any) -> tuple[Any, ...]:
            inputs = list(self.inputs)
            for n, x in zip(chosen, given, strict=True):
                inputs[n] = x
            return self.slope(inputs)

        return function

    def _in_time(self) -> tuple[Any, ...]:
        """The derivative in a time that all rows share."""
        torch = imported()
        with torch.no_grad():
            t = self.inputs[0]
            return torch.func.jvp(self._of([0]), (t,), (torch.ones_like(t),))[1]

    def _tangent(self) -> Callable[..., tuple[Any, ...]]:
        """The derivative along tangents of `wrt`, a function of them."""
        torch, wrt = imported(), self.asked.wrt
        apart = [k for k, mapped in zip(wrt, self.mapped, strict=True) if mapped and not self.whole[k]]
        if any(k != 0 for k in apart):
            raise UserError(SHARED)
        in_time = self._in_time() if apart else ()  # one time, a tangent for each row
        together = [k for k in wrt if k not in apart]
        inputs = tuple(self.inputs[k] for k in together)

        def along(*tangents: Any) -> tuple[Any, ...]:
            given = {
                k: self._by_row(x, mapped or not self.whole[k])
                for k, x, mapped in zip(wrt, tangents, self.mapped, strict=True)
            }
            found = [given[0].reshape(-1, *[1] * (x.ndim - 1)) * x for x in in_time]
            if not together:
                return tuple(found)
            with torch.no_grad():
                rest = torch.func.jvp(self._of(together), inputs, tuple(given[k] for k in together))[1]
            return tuple(a + b for a, b in zip(found, rest, strict=True)) if found else rest

        return along

    def _cotangent(self) -> Callable[..., tuple[Any, ...]]:
        """The cotangents of `wrt`, a function of those of the results: of each row, except for args that rows share."""
        torch, wrt = imported(), self.asked.wrt
        apart = 0 in wrt and self.asked.rows is not None and not self.whole[0]  # one time, a cotangent for each row
        in_time = self._in_time() if apart else ()
        together = [k for k in wrt if k != 0 or not apart]
        back = torch.func.vjp(self._of(together), *(self.inputs[k] for k in together))[1] if together else None

        def along(*cotangents: Any) -> tuple[Any, ...]:
            given = tuple(self._by_row(x, mapped) for x, mapped in zip(cotangents, self.mapped, strict=True))
            found = {} if back is None else dict(zip(together, back(given), strict=True))
            if apart:
                found[0] = sum((c * x).reshape(len(c), -1).sum(1) for c, x in zip(given, in_time, strict=True))
            return tuple(found[k] for k in wrt)

        return along

    def _in_all_directions(self, along: Callable[..., tuple[Any, ...]]) -> Sequence[Any]:
        """The derivatives for every direction: the inputs' own value is computed once for all of them.

        Directions of zeros cost nothing. Most are: a coefficient of a late stage changes no state before it.
        """
        directions = self.asked.directions
        if directions is None:
            return along(*self.extra)
        live = self._live(directions)
        extra = [x[live] if led else x for x, led in zip(self.extra, self.led, strict=True)]
        found = self._along_each(along, extra, len(live))
        if len(live) == directions:
            return found
        return [x.new_zeros((directions, *x.shape[1:])).index_copy_(0, live, x) for x in found]

    def _live(self, directions: int) -> Any:
        """The indices of the directions that are not zero; one at least."""
        torch = imported()
        led = [x.reshape(directions, -1) for x, led in zip(self.extra, self.led, strict=True) if led]
        some = torch.stack([(x != 0).any(1) for x in led]).any(0)
        some[0] |= ~some.any()
        return some.nonzero()[:, 0]

    def _along_each(self, along: Callable[..., tuple[Any, ...]], extra: Sequence[Any], number: int) -> Sequence[Any]:
        """The derivatives for each of some directions."""
        torch = imported()
        axes = tuple(0 if led else None for led in self.led)
        size = max(1, self.call.host.rows // (self.asked.rows or 1))
        try:
            return torch.func.vmap(along, axes, chunk_size=size)(*extra)
        except (RuntimeError, NotImplementedError):  # an operation that vmap does not have
            pick = lambda n: [x[n] if led else x for x, led in zip(extra, self.led, strict=True)]
            each = [along(*pick(n)) for n in range(number)]
            return [torch.stack(parts) for parts in zip(*each, strict=True)]


SHARED = (
    "a PyTorch field has no derivative of each sample in args that the samples share: differentiate the sum over the "
    "samples, or give each sample its own args (args_axes)"
)
