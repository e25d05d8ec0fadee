"""PyTorch fields that people bring, and would get wrong numbers from, or none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax import UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'kuttax[torch]'")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, when it is imported

RK4 = kx.FixedSteps(kx.tableaus.RK4, 2)
FLOAT64 = {"dtype": torch.float64}


def slope(t, x):
    return torch.sin(x) * t - x


def detached(t, x):
    return slope(t, x.detach())


WEIGHTED = torch.nn.Linear(2, 2, dtype=torch.float64)


def weighted(t, x):
    return WEIGHTED(x.detach())


def of_numpy(t, x):
    return torch.from_numpy(np.sin(x.detach().numpy()))


def of_energy(t, x):
    with torch.enable_grad():
        inner = x.detach().requires_grad_()
        return -torch.autograd.grad((inner**4).sum() / 40, inner)[0]


HIDDEN = (torch.no_grad()(slope), torch.inference_mode()(slope), detached, weighted, of_numpy, of_energy)


def solved(field, y0, **options):
    return kx.solve(field, y0, 0.0, 1.0, solver=RK4, batch_axis=0, **options)


@pytest.fixture
def starts(rng):
    return rng.standard_normal((6, 2))


@pytest.mark.parametrize("function", HIDDEN, ids=["no_grad", "inference_mode", "detach", "weights", "numpy", "energy"])
@pytest.mark.parametrize("mode", ["reverse", "forward", "distill"])
def test_a_derivative_that_pytorch_cannot_follow_is_refused(function, mode, starts):
    """The solve itself is right."""
    field = kx.from_torch(function, **FLOAT64)
    plain = {of_energy: lambda t, x: -0.1 * x**3, weighted: lambda t, x: WEIGHTED(x)}.get(function, slope)
    plain = kx.from_torch(plain, **FLOAT64)
    if function is not of_numpy:
        np.testing.assert_allclose(solved(field, starts).y1, solved(plain, starts).y1, rtol=1e-12)
    with pytest.raises(Exception, match=r"PyTorch cannot follow the derivative of .*: take torch.no_grad"):
        if mode == "reverse":
            jax.grad(lambda y: jnp.sum(solved(field, y).y1))(jnp.asarray(starts))
        elif mode == "forward":
            jax.jvp(lambda y: solved(field, y, adjoint=kx.ForwardMode()).y1, (starts,), (starts,))
        else:
            kx.distill(field, starts, 0.0, 1.0, student=kx.student("free", 2), key=jax.random.key(0))


def test_a_slope_that_depends_on_time_alone_has_the_derivative_zero(starts):
    field = kx.from_torch(lambda t, x: torch.cos(t) * torch.ones_like(x), **FLOAT64)
    found = jax.grad(lambda y: jnp.sum(solved(field, y).y1))(jnp.asarray(starts))
    np.testing.assert_allclose(found, 1.0)


class Scalars(torch.autograd.Function):
    """Has a derivative, and nothing for `torch.func.vmap`."""

    @staticmethod
    def forward(x):
        return torch.from_numpy(np.tanh(x.detach().numpy()))

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(output)

    @staticmethod
    def backward(context, cotangent):
        return cotangent * (1 - context.saved_tensors[0] ** 2)


def test_an_operation_that_pytorch_cannot_map_is_differentiated_one_direction_after_the_other(starts):
    ours, plain = Scalars.apply, torch.tanh
    slopes = [lambda t, x, f=f: f(x) * t for f in (ours, plain)]
    jacobians = [jax.jacrev(lambda y, s=s: solved(kx.from_torch(s, **FLOAT64), y).y1)(starts) for s in slopes]
    np.testing.assert_allclose(*jacobians, rtol=1e-12)


def test_noise_is_refused_where_derivatives_are_asked_for(starts):
    noisy = torch.nn.Dropout(0.5)
    field = kx.from_torch(lambda t, x: noisy(x), **FLOAT64)
    with pytest.raises(UserError, match="gives two results for the same inputs"):
        kx.distill(field, starts, 0.0, 1.0, student=kx.student("free", 2), key=jax.random.key(0))


@pytest.mark.parametrize("layer", [torch.nn.MultiheadAttention(4, 2, dropout=0.1), torch.nn.LSTM(4, 4, 2, dropout=0.1)])
def test_layers_that_drop_in_their_own_way_are_known(layer):
    with pytest.raises(UserError, match=r"call module.eval\(\)"):
        kx.from_torch(layer)
    kx.from_torch(layer.eval())


def test_samples_that_depend_on_each_other_are_differentiated_together(starts):
    centred = lambda t, x: torch.tanh(x - x.mean(0, keepdim=True))
    loss = lambda field, y: jnp.sum(solved(field, y).y1 ** 2)
    with pytest.raises(Exception, match=r"the samples of .* depend on each other .*: pass rows=6 or more"):
        jax.grad(lambda y: loss(kx.from_torch(centred, rows=4, **FLOAT64), y))(jnp.asarray(starts))
    found = jax.grad(lambda y: loss(kx.from_torch(centred, rows=6, **FLOAT64), y))(jnp.asarray(starts))
    in_jax = lambda t, y, args: jnp.tanh(y - y.mean(0, keepdims=True))
    whole = lambda y: jnp.sum(kx.solve(in_jax, y, 0.0, 1.0, solver=RK4).y1 ** 2)
    np.testing.assert_allclose(found, jax.grad(whole)(jnp.asarray(starts)), rtol=1e-12)


def test_complex_slopes_of_a_real_state_are_refused(starts):
    with pytest.raises(UserError, match="returns complex numbers for a real state"):
        solved(kx.from_torch(lambda t, x: torch.fft.fft(x)), starts)
    turned = lambda t, x, phase: (x * phase).real
    found = solved(kx.from_torch(turned), starts, args={"phase": np.exp(0.5j)}).y1
    z = np.cos(0.5) / 2  # two steps of RK4
    np.testing.assert_allclose(found, starts * (1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24) ** 2, rtol=1e-12)


def test_a_state_of_one_number_a_sample(rng):
    """Its derivative in the end time, and a distillation."""
    starts, field = rng.standard_normal(24), kx.from_torch(lambda t, x: -torch.sin(x) * t, **FLOAT64)
    solver = kx.LearnedRK.from_tableau(kx.tableaus.RK4, steps=2, order=2, learn_steps=True)
    end = lambda t1: jnp.sum(kx.solve(field, starts, 0.0, t1, solver=solver, batch_axis=0).y1 ** 2)
    h = 1e-5
    np.testing.assert_allclose(jax.grad(end)(1.0), (end(1 + h) - end(1 - h)) / (2 * h), rtol=1e-7)
    student = kx.student("per_step", 2, stages=2)
    found = kx.distill(field, starts, 0.0, 1.0, student=student, max_steps=10, key=jax.random.key(0))
    assert found.error <= found.table[0].rmse


def test_tensors_and_labels_in_args(starts):
    """Class labels are indices in PyTorch, and JAX's usual whole numbers have 32 bits. Changed tensors count."""
    kinds = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], dtype=torch.float64)
    field = kx.from_torch(lambda t, x, y: torch.nn.functional.one_hot(y, 3).to(x.dtype) @ kinds, **FLOAT64)
    for labels in (torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 2, 2, 1, 1, 0])):
        found = solved(field, starts, args={"y": labels}, args_axes={"y": 0}).y1
        np.testing.assert_allclose(found, starts + kinds[labels].numpy(), rtol=1e-12)
    at = field(0.5, torch.from_numpy(starts), {"y": labels})
    np.testing.assert_allclose(at, kinds[labels].numpy())


def test_one_solver_is_fitted_to_all_classes_of_a_flow(rng):
    """Each start has its label: the teacher, the fit and the table solve it with that one."""
    to = torch.tensor([[3.0, 0.0], [0.0, -2.0], [-1.0, 1.0]], dtype=torch.float64)
    rates = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def pulled(t, x, *, label):  # to the point of its class, at the rate of its class
        return (to[label] - x) * rates[label][:, None]

    field, axes = kx.from_torch(pulled, **FLOAT64), {"label": 0}
    near, labels = rng.standard_normal((60, 2)), torch.arange(60) % 3
    options = {"student": kx.student("free", 3), "args": {"label": labels}, "args_axes": axes, "max_steps": 20}
    found = kx.distill(field, near, 0.0, 1.0, key=jax.random.key(0), **options)
    others, kinds = rng.standard_normal((90, 2)), torch.arange(90) % 3
    ends = to[kinds] + (torch.from_numpy(others) - to[kinds]) * torch.exp(-rates[kinds])[:, None]

    def wrong(solver):
        options = {"solver": solver, "batch_axis": 0, "args": {"label": kinds}, "args_axes": axes}
        return np.sqrt(np.mean((np.asarray(kx.solve(field, others, 0.0, 1.0, **options).y1) - ends.numpy()) ** 2))

    # A free solver with three evaluations can solve three linear equations exactly.
    assert wrong(found.solver) < 1e-6 < 1e-2 < wrong(kx.FixedSteps(kx.tableaus.KUTTA3, 1))


def test_a_module_of_buffers_alone_has_their_dtype(rng):
    module = torch.nn.Module()
    module.register_buffer("matrix", torch.eye(2))
    module.forward = lambda t, x: -x @ module.matrix
    near = rng.standard_normal((24, 2))
    found = kx.distill(kx.from_torch(module), near, 0.0, 1.0, student=kx.student("free", 2), key=jax.random.key(0))
    assert found.error < found.table[0].rmse


def test_a_module_that_is_no_field_yet_is_named(starts):
    with pytest.raises(
        UserError, match=r"the field is a PyTorch module, Linear: wrap it, as in kx.from_torch\(module\)"
    ):
        solved(torch.nn.Linear(2, 2), starts)


@pytest.mark.parametrize("batched", [True, False])
def test_a_program_without_pytorch_cannot_call_it(starts, batched):
    field = kx.from_torch(slope, **FLOAT64)
    function = lambda y: kx.solve(field, y, 0.0, 1.0, solver=RK4, batch_axis=0, throw=False).y1
    with pytest.raises(UserError, match="calls Python, which a program without it cannot"):
        kx.export.to_stablehlo(function, torch.from_numpy(starts), batched=batched)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"module": torch.nn.Linear}, "from_torch takes a module, got the class Linear: make one, Linear"),
        ({"dtype": "float32"}, "dtype must be a torch.dtype, got 'float32': write dtype=torch.float32"),
        ({"dtype": np.float32}, "dtype must be a torch.dtype"),
        ({"device": "foo"}, "device must be one of PyTorch's, such as 'cpu' or 'cuda:0', got 'foo'"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(UserError, match=says):
        kx.from_torch(**{"module": slope, **options})
