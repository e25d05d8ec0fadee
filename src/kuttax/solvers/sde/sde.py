"""SDE: a stochastic differential equation, which `solve` takes in place of a vector field."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ..._types import State, VectorField
from ...errors import UserError
from ..base.problem import Problem
from ..base.solver import Calculus as Calculus
from ..base.times.coarse import depends

Noise = Literal["diagonal", "scalar", "general", "additive"]


class SDE(eqx.Module):
    """dy = drift(t, y, args) dt + diffusion(t, y, args) dW, in place of the field in `kuttax.solve`.

    With `batch_axis`, write both for one sample; every sample has its own noise.

    Attributes:
        drift: drift(t, y, args), shaped like y.
        diffusion: diffusion(t, y, args), in the shape that `noise` requires.
        noise: How the Wiener processes drive the state.
            "diagonal": every entry of y has its own process; the diffusion is shaped like y. Strong orders above 1/2
            hold if each of its entries depends only on that entry of y.
            "scalar": one process drives all entries; the diffusion is shaped like y.
            "general": m processes drive all entries; every leaf of the diffusion has one more axis of length m, the
            last.
            "additive": the diffusion does not depend on y; its shape is as for diagonal or for general noise.
        calculus: The meaning of the stochastic integral: "ito" or "stratonovich". With additive noise they agree.

    Raises:
        UserError: `noise` or `calculus` is unknown, or `drift` or `diffusion` is not a function.
    """

    drift: VectorField
    diffusion: VectorField
    noise: Noise = eqx.field(static=True, default="diagonal")
    calculus: Calculus = eqx.field(static=True, default="ito", kw_only=True)

    def __check_init__(self):
        for name in ("drift", "diffusion"):
            if not callable(getattr(self, name)):
                raise UserError(f"the {name} must be a function of (t, y, args), got {getattr(self, name)!r}")
        for name, kinds in (("noise", get_args(Noise)), ("calculus", get_args(Calculus))):
            if getattr(self, name) not in kinds:
                raise UserError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")

    def to_stratonovich(self) -> "SDE":
        """The Stratonovich SDE with the same solutions: its drift is smaller by 1/2 sum_j (D g_j) g_j.

        g_j is the diffusion's column for Wiener process j (Kloeden & Platen 1992, section 4.9). Every evaluation of
        that drift costs a Jacobian-vector product of the diffusion for each Wiener process; none with additive noise.
        """
        return self._read_as("stratonovich", -0.5)

    def to_ito(self) -> "SDE":
        """The Ito SDE with the same solutions: its drift is larger by 1/2 sum_j (D g_j) g_j, see `to_stratonovich`."""
        return self._read_as("ito", 0.5)

    def _read_as(self, calculus: Calculus, share: float) -> "SDE":
        if self.calculus == calculus:
            return self
        drift = self.drift if self.noise == "additive" else _Corrected(self, share)
        return SDE(drift, self.diffusion, self.noise, calculus=calculus)


class _Corrected(eqx.Module):
    """The drift plus `share` times sum_j (D g_j) g_j."""

    sde: SDE
    share: float = eqx.field(static=True)

    def __call__(self, t, y, args):
        g = lambda y: self.sde.diffusion(t, y, args)
        product = _Product.of(self.sde.noise, y, g(y))
        flat, unflatten = ravel_pytree(product.wiener(y, g(y)))

        def along(process):
            column = lambda y: product(g(y), unflatten(process))
            return jax.jvp(column, (y,), (column(y),))[1]

        columns = jax.vmap(along)(jnp.eye(flat.size, dtype=flat.dtype))
        add = lambda f, columns: f + self.share * jnp.sum(columns, 0)
        return jax.tree.map(add, self.sde.drift(t, y, args), columns)


class _Product(NamedTuple):
    """g dW of one sample: dW is shaped like the state ("each"), one number ("one"), or a vector ("vector")."""

    form: Literal["each", "one", "vector"]

    @classmethod
    def of(cls, noise: Noise, y: State, g: State) -> "_Product":
        """The product for this kind of noise, a state like y and a diffusion like g."""
        wide = jax.tree.leaves(g)[0].ndim > jax.tree.leaves(y)[0].ndim
        return cls("one" if noise == "scalar" else "vector" if wide else "each")

    def wiener(self, y: State, g: State) -> PyTree:
        """Zeros shaped like dW."""
        if self.form == "each":
            return jax.tree.map(jnp.zeros_like, y)
        wide = jax.tree.leaves(g)[0]
        return jnp.zeros(() if self.form == "one" else wide.shape[-1], wide.dtype)

    def __call__(self, g: State, dw: PyTree) -> State:
        if self.form == "each":
            return jax.tree.map(jnp.multiply, g, dw)
        if self.form == "one":
            return jax.tree.map(lambda g: g * dw, g)
        return jax.tree.map(lambda g: jnp.matmul(g, dw, precision="highest"), g)


class Terms(NamedTuple):
    """An SDE on the whole state, as steps see it.

    Attributes:
        sde: The equation.
        drift, diffusion: Functions of (t, y).
        times: times(g, dw) = g dW, linear in each.
        wiener: The shapes of the Wiener processes, of all samples.
    """

    sde: SDE
    drift: Callable[[Any, State], State]
    diffusion: Callable[[Any, State], State]
    times: Callable[[State, PyTree], State]
    wiener: PyTree


def terms_of(problem: Problem) -> Terms:
    """The SDE of `problem` on the whole state.

    Raises:
        UserError: The diffusion does not have the shape of its kind of noise, or is additive but depends on y.
    """
    sde, args = problem.field, problem.args
    assert isinstance(sde, SDE)
    drift, diffusion = problem.mapped(sde.drift), problem.mapped(sde.diffusion)
    g = jax.eval_shape(lambda y: jax.tree.map(jnp.asarray, diffusion(problem.t0, y, args)), problem.y0)
    _check_diffusion(sde.noise, problem.y0, g)
    if sde.noise == "additive" and depends(lambda y: diffusion(problem.t0, y, args), problem.y0):
        raise UserError("noise='additive' is for a diffusion that does not depend on y: use 'diagonal' or 'general'")
    product = _Product.of(sde.noise, problem.y0, g)
    mapped = jax.vmap if problem.batched else lambda function: function
    wiener, times = jax.eval_shape(mapped(product.wiener), problem.y0, g), mapped(product)
    return Terms(sde, lambda t, y: drift(t, y, args), lambda t, y: diffusion(t, y, args), times, wiener)


def sde_of(problem: Problem, solver: str) -> SDE:
    """The SDE of `problem`.

    Raises:
        UserError: The problem is an ODE.
    """
    if not isinstance(problem.field, SDE):
        raise UserError(f"{solver} solves SDEs: give kx.SDE(drift, diffusion) in place of the field, or use FixedSteps")
    return problem.field


def check_calculus(sde: SDE, solver: str, calculus: Calculus, instead: str) -> None:
    """Refuse a solver of the other calculus: it would solve another equation.

    Raises:
        UserError: The SDE has the other calculus.
    """
    if sde.noise != "additive" and sde.calculus != calculus:
        names = {"ito": "Ito", "stratonovich": "Stratonovich"}
        raise UserError(
            f"{solver} solves {names[calculus]} SDEs, and this one is {names[sde.calculus]}: "
            f"convert it with sde.to_{calculus}(), or use {instead}"
        )


_WANTED: dict[Noise, str] = {
    "diagonal": "be shaped like the state",
    "scalar": "be shaped like the state",
    "general": "have one last axis more than the state",
    "additive": "be shaped like the state, or have one last axis more,",
}


def _check_diffusion(noise: Noise, y: State, g: State) -> None:
    """Refuse a diffusion that does not have the shape of its kind of noise."""
    same = jax.tree.structure(g) == jax.tree.structure(y) and _dtypes(g) == _dtypes(y)
    like = same and _shapes(g) == _shapes(y)
    wide = same and [shape[:-1] for shape in _shapes(g)] == _shapes(y) and len({x[-1] for x in _shapes(g)}) == 1
    if {"general": wide, "additive": like or wide}.get(noise, like):
        return
    if wide:
        mend = "use noise='general' for a matrix"
    elif like:
        mend = "use noise='diagonal', or 'scalar' for one Wiener process"
    else:
        mend = "reshape it" if same else "return the state's own pytree and dtype"
    show = lambda tree: jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)
    raise UserError(f"with noise={noise!r} the diffusion must {_WANTED[noise]} {show(y)}, got {show(g)}: {mend}")


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def _dtypes(tree: PyTree) -> list[Any]:
    return [leaf.dtype for leaf in jax.tree.leaves(tree)]
