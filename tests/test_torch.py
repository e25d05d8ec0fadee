"""PyTorch fields: values, derivatives and solves are those of PyTorch itself."""

import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax import UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'kuttax[torch]'")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, when it is imported

RK4 = kx.FixedSteps(kx.tableaus.RK4, 4)


class Field(torch.nn.Module):
    """A small network of t and y, with a conditioning input."""

    def __init__(self, dtype=torch.float64, size=3):
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(size + 2, 16, dtype=dtype)
        self.outer = torch.nn.Linear(16, size, dtype=dtype)
        self.calls = []

    def forward(self, t, y, push=None):
        self.calls.append(tuple(y.shape))
        time = t.reshape(-1, 1).expand(len(y), 1) if y.ndim > 1 else t.reshape(1)
        push = torch.zeros_like(y[..., :1]) if push is None else push * torch.ones_like(y[..., :1])
        return self.outer(torch.tanh(self.inner(torch.cat([y, time, push], -1))))


def march(field, y, t0=0.0, t1=1.0, steps=4, **args):
    """RK4 in PyTorch."""
    h, t = (t1 - t0) / steps, torch.as_tensor(t0, dtype=y.dtype)
    for _ in range(steps):
        k1 = field(t, y, **args)
        k2 = field(t + h / 2, y + h / 2 * k1, **args)
        k3 = field(t + h / 2, y + h / 2 * k2, **args)
        k4 = field(t + h, y + h * k3, **args)
        y, t = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
    return y


@pytest.fixture
def starts(rng):
    return rng.standard_normal((5, 3))


def tensor(x, grad=False):
    return torch.tensor(np.asarray(x), requires_grad=grad)


@pytest.mark.parametrize("batch_axis", [None, 0])
def test_a_solve_is_the_loop_in_torch_with_whole_batches(starts, batch_axis):
    module = Field()
    y1 = kx.solve(kx.from_torch(module), starts, 0.0, 1.0, solver=RK4, batch_axis=batch_axis).y1
    assert module.calls == [(5, 3)] * 16
    np.testing.assert_allclose(y1, march(module, tensor(starts)).detach(), atol=1e-14)


@pytest.mark.parametrize("adjoint", [kx.DiscreteAdjoint(), kx.ForwardMode(), kx.BacksolveAdjoint()])
@pytest.mark.parametrize("rows", [2, 256])
def test_gradients_in_the_state_are_those_of_autograd(starts, adjoint, rows):
    module = Field()
    field = kx.from_torch(module, rows=rows)
    loss = lambda y: jnp.sum(kx.solve(field, y, 0.0, 1.0, solver=RK4, batch_axis=0, adjoint=adjoint).y1 ** 2)
    found = (jax.jacfwd if isinstance(adjoint, kx.ForwardMode) else jax.grad)(loss)(jnp.asarray(starts))
    (march(module, y := tensor(starts, grad=True)) ** 2).sum().backward()
    np.testing.assert_allclose(found, y.grad, atol=1e-4 if isinstance(adjoint, kx.BacksolveAdjoint) else 1e-12)


def test_gradients_in_float32(starts):
    module = Field(torch.float32)
    y0 = jnp.asarray(starts, jnp.float32)
    loss = lambda y: jnp.sum(kx.solve(kx.from_torch(module), y, 0.0, 1.0, solver=RK4, batch_axis=0).y1)
    march(module, y := tensor(y0, grad=True)).sum().backward()
    np.testing.assert_allclose(jax.grad(loss)(y0), y.grad, rtol=1e-5)


@pytest.mark.parametrize("batch_axis", [None, 0])
@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd])
def test_derivatives_in_the_end_time(starts, batch_axis, mode):
    field = kx.from_torch(Field())
    loss = lambda t1: jnp.sum(kx.solve(field, starts, 0.0, t1, solver=RK4, batch_axis=batch_axis).y1 ** 2)
    h = 1e-5
    np.testing.assert_allclose(mode(loss)(1.0), (loss(1 + h) - loss(1 - h)) / (2 * h), rtol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_conditioning_and_its_gradient(starts, shared):
    module = Field()
    push = np.float64(0.7) if shared else np.linspace(-1.0, 1.0, 5)[:, None]

    def loss(push):
        axes = {} if shared else {"args_axes": 0}
        sol = kx.solve(kx.from_torch(module), starts, 0.0, 1.0, solver=RK4, batch_axis=0, args={"push": push}, **axes)
        return jnp.sum(sol.y1**2)

    value, found = jax.value_and_grad(loss)(jnp.asarray(push))
    expected = (march(module, tensor(starts), push=(p := tensor(push, grad=True))) ** 2).sum()
    expected.backward()
    assert float(value) == pytest.approx(expected.item())
    np.testing.assert_allclose(found, p.grad, rtol=1e-10)


def test_constants_are_keyword_arguments(starts):
    field = kx.from_torch(lambda t, y, *, scale, name: scale * y if name == "linear" else None)
    y1 = kx.solve(field, starts, 0.0, 1.0, solver=RK4, args={"scale": -1.0, "name": "linear"}).y1
    np.testing.assert_allclose(y1, np.exp(-1) * starts, rtol=1e-3)


def test_a_state_of_several_tensors(starts):
    field = kx.from_torch(lambda t, y: {"x": y["v"], "v": -y["x"]})
    y1 = kx.solve(field, {"x": starts, "v": 0 * starts}, 0.0, 1.0, solver=kx.FixedSteps(kx.tableaus.DOPRI8, 10)).y1
    np.testing.assert_allclose(y1["x"], np.cos(1) * starts, atol=1e-9)


def test_each_sample_at_its_own_time(starts):
    module, ends = Field(), np.linspace(0.5, 1.5, 5)
    field = kx.from_torch(module, per_sample_time=True)
    y1 = kx.solve(field, starts, 0.0, ends, solver=RK4, batch_axis=0).y1
    expected = [march(module, tensor(y[None]), t1=end)[0].detach().numpy() for y, end in zip(starts, ends, strict=True)]
    np.testing.assert_allclose(y1, expected, atol=1e-13)
    with pytest.raises(UserError, match="per_sample_time=True"):
        kx.solve(kx.from_torch(module), starts, 0.0, ends, solver=RK4, batch_axis=0)


def test_tensors_as_starts(starts):
    module, y0 = Field(), tensor(starts, grad=True)
    y1 = kx.solve(kx.from_torch(module), y0, 0.0, 1.0, solver=RK4).y1
    np.testing.assert_allclose(y1, march(module, y0).detach(), atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_modules_and_states(dtype, starts):
    module, y0 = Field(getattr(torch, dtype)), jnp.asarray(starts, dtype)
    y1 = kx.solve(kx.from_torch(module), y0, 0.0, 1.0, solver=RK4, batch_axis=0).y1
    assert y1.dtype == dtype
    exact = march(module.double(), tensor(starts)).detach()
    np.testing.assert_allclose(np.asarray(y1, np.float64), exact, atol=0.05)


def test_new_weights_count_at_the_next_solve(starts):
    module = Field()
    solve = lambda: kx.solve(field, starts, 0.0, 1.0, solver=RK4).y1
    field, calls = kx.from_torch(module), len(module.calls)
    before = solve()
    with torch.no_grad():
        module.outer.bias += 1
    np.testing.assert_allclose(solve(), march(module, tensor(starts)).detach(), atol=1e-14)
    assert np.abs(solve() - before).max() > 0.1 and len(module.calls) > calls


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_student_of_a_torch_flow(rng, precision):
    module = Field(getattr(torch, precision))
    starts = tensor(rng.standard_normal((40, 3))).to(getattr(torch, precision))
    student = kx.student("per_step", 4)
    found = kx.distill(kx.from_torch(module), starts, 0.0, 1.0, student=student, key=jax.random.key(0), max_steps=20)
    assert found.error < 0.5 * found.table[0].rmse
    end = kx.solve(kx.from_torch(module), starts, 0.0, 1.0, solver=found.solver, batch_axis=0).y1
    exact = march(module.double(), starts.double(), steps=200).detach().numpy()
    assert np.sqrt(np.mean((np.asarray(end, np.float64) - exact) ** 2)) < 2 * found.error


def test_a_certificate(starts):
    field = kx.from_torch(lambda t, y: 3 * torch.sin(y))

    def predict(solver, batch):
        sol = kx.solve(field, batch, 0.0, 1.0, solver=solver, batch_axis=0, throw=False)
        return kx.Prediction(sol.y1, jnp.mean(sol.y1**2), stats=sol.stats, status=jnp.max(sol.status))

    starts = np.random.default_rng(0).standard_normal((70, 3))
    verdict = lambda steps: kx.certify(predict, kx.FixedSteps(kx.tableaus.EULER, steps), starts).verdict
    assert (verdict(1), verdict(500)) == ("invalid", "valid")


def test_attention_has_derivatives(rng):
    """The fast kernels of scaled_dot_product_attention have no forward mode."""
    layer = torch.nn.functional.scaled_dot_product_attention
    field = kx.from_torch(lambda t, y: layer(y, y, y))
    y, v = rng.standard_normal((2, 3, 7, 4))
    _, along = jax.jvp(lambda y: field(0.0, y), (jnp.asarray(y),), (jnp.asarray(v),))
    h = 1e-6
    difference = (field(0.0, jnp.asarray(y + h * v)) - field(0.0, jnp.asarray(y - h * v))) / (2 * h)
    np.testing.assert_allclose(along, difference, atol=1e-8)


def changed(t, y):
    y += 1
    return y


def missing(t, y):
    raise KeyError("no such layer")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda t, y: y[:, :2], r"<lambda> must return a slope like the state, \(5, 3\), got \(5, 2\)"),
        (lambda t, y: (y,), "must return a slope like the state"),
        (lambda t, y: types.SimpleNamespace(sample=y), r"got SimpleNamespace: wrap it, as in .*\.sample"),
        (lambda y, t: torch.nn.Linear(3, 3)(y), r"fails for t of shape \(\) and y of shape \(5, 3\) \(RuntimeError\)"),
        (changed, "changed writes into its inputs"),
        (missing, r"the PyTorch field missing fails for .* \(KeyError\): 'no such layer'"),
        (lambda t, y, z: y, "missing 1 required positional argument: 'z'"),
    ],
)
def test_mistakes_in_the_function_are_one_line(starts, function, said):
    with pytest.raises(UserError, match=said):
        kx.solve(kx.from_torch(function), starts, 0.0, 1.0, solver=RK4, batch_axis=0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: kx.from_torch(3), "takes a torch.nn.Module or a function"),
        (lambda: kx.from_torch(Field(), rows=0), "rows must be a whole number >= 1, got 0"),
        (lambda: kx.from_torch(torch.nn.Dropout()), r"call module.eval\(\)"),
        (lambda: kx.from_torch(Field())(0.0, jnp.ones((1, 3)), (1.0,)), "must be a dict of its keyword arguments"),
    ],
)
def test_mistakes_in_the_call_are_one_line(make, said):
    with pytest.raises(UserError, match=said):
        make()


def test_second_derivatives_are_refused(starts):
    field = kx.from_torch(Field())
    with pytest.raises(UserError, match="no second derivatives"):
        jax.hessian(lambda y: jnp.sum(field(0.0, y) ** 2))(jnp.asarray(starts))


@pytest.mark.slow
def test_the_page_runs():
    """docs/pytorch.md, its blocks one after another, as a reader has them: in float32."""
    page, names = (Path(__file__).parents[1] / "docs" / "pytorch.md").read_text(), {}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(block, "pytorch.md", "exec"), names)
    assert names["images"].shape == names["back"].shape == (64, 2)
    assert names["sampler"].error < names["sampler"].table[0].rmse


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'kuttax\[torch\]'"):
        kx.from_torch(lambda t, y: y)


@pytest.mark.slow
def test_directions_of_zeros_cost_nothing():
    """A sampler of four stages has 19 parameters. Those that a stage's slope depends on are 2, 5, 9 and 14."""
    calls = []

    def velocity(t, y):
        calls.append(len(y))
        return torch.sin(y) + t * y

    field = kx.from_torch(velocity, dtype=torch.float64, rows=2)  # one direction in each call
    start = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    student = kx.student("free", 4, dtype=np.float64)
    in_jax = lambda t, y, args: jnp.sin(y) + t * y

    def end(student, field):
        options = {"solver": student, "batch_axis": 0, "adjoint": kx.ForwardMode()}
        return kx.solve(field, start, 0.0, 1.0, **options).y1

    jax.jvp(lambda y: field(0.0, y), (start,), (start,))  # which looks at the function, once
    calls.clear()
    found = jax.jacfwd(end)(student, field)
    assert len(calls) == (2 + 5 + 9 + 14) + 4  # and the values
    expected = jax.jacfwd(end)(student, in_jax)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), found, expected)


@pytest.mark.slow
def test_every_objective_takes_a_field_with_one_time_for_all():
    field = kx.from_torch(lambda t, y: torch.cos(t) - torch.sin(y), dtype=torch.float64)
    start = np.random.default_rng(0).normal(size=(24, 2))
    for objective in ("end", "local", "relaxed"):
        options = {"student": kx.student("per_step", 4, stages=2), "objective": objective, "max_steps": 10}
        found = kx.distill(field, start, 0.0, 1.0, key=jax.random.key(0), **options)
        begin = next(row for row in found.table if "Midpoint" in row.name)
        assert found.error < begin.rmse / 2, objective
