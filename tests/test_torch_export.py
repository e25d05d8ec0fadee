"""Solvers for PyTorch: the file that is written needs PyTorch alone and gives the numbers that kuttax gives."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx

torch = pytest.importorskip("torch")

SOLVERS = {
    "classical": kx.FixedSteps(kx.tableaus.DOPRI5, 3),
    "learned": kx.LearnedRK.from_tableau(
        kx.tableaus.RK4, 3, order=2, per_step=True, learn_steps=True, dtype=jnp.float64
    ),
    "anchored": kx.student("anchored", 5, dtype=jnp.float64),
    "sampler": kx.student("free", 4, dtype=jnp.float64),
}


def program(solver):
    names = {}
    exec(kx.export.to_torch_source(solver), names)
    assert not {"jax", "kuttax", "np"} & set(names)
    return names


def ours(y, times, solver):
    def field(t, y, args):
        return jnp.sin(y) * jnp.cos(3 * t) - y**2

    ys = kx.solve(field, np.array(y), times[0], times[-1], ts=np.array(times), solver=solver).ys
    return np.asarray(ys)


def theirs(t, y):
    return torch.sin(y) * torch.cos(3 * t) - y**2


@pytest.mark.parametrize("kind", SOLVERS)
def test_a_plain_loop_gives_the_same_numbers(kind):
    y = [0.3, 1.0]
    y1 = program(SOLVERS[kind])["integrate"](theirs, torch.tensor(y, dtype=torch.float64), 0.2, 1.2)
    np.testing.assert_allclose(y1.numpy(), ours(y, [0.2, 1.2], SOLVERS[kind])[-1], rtol=1e-13)


@pytest.mark.parametrize("kind", SOLVERS)
def test_odeint_gives_the_states_at_all_times(kind):
    y, times = [0.3, 1.0], [0.2, 0.7, 1.2]
    tensors = torch.tensor(y, dtype=torch.float64), torch.tensor(times, dtype=torch.float64)
    ys = program(SOLVERS[kind])["odeint"](theirs, *tensors)
    np.testing.assert_allclose(ys.numpy(), ours(y, times, SOLVERS[kind]), rtol=1e-13)


def test_odeint_takes_what_torchdiffeq_takes_and_says_what_it_ignores():
    odeint, y, t = program(SOLVERS["classical"])["odeint"], torch.ones(2), torch.tensor([0.0, 1.0])
    with pytest.warns(UserWarning, match="rtol, method changed nothing"):
        ys = odeint(theirs, y, t, rtol=1e-6, method="dopri5")
    assert torch.equal(ys, odeint(theirs, y, t))
    with pytest.raises(ValueError, match="no events"):
        odeint(theirs, y, t, event_fn=lambda t, y: y[0])


def test_odeint_takes_tuples_of_any_shape_and_keeps_the_dtype():
    state = torch.ones(2, 3), torch.zeros(())
    a, b = program(SOLVERS["learned"])["odeint"](
        lambda t, y: (-y[0], y[0].sum()), state, torch.tensor([0.0, 1.0], dtype=torch.float32)
    )
    assert (a.shape, b.shape, a.dtype) == ((2, 2, 3), (2,), torch.float32)
    np.testing.assert_allclose(a[1].numpy(), np.exp(-1.0), rtol=1e-3)
    np.testing.assert_allclose(b[1].numpy(), 6 * (1 - np.exp(-1.0)), rtol=1e-3)


def test_a_program_for_the_adjoint_changes_one_import():
    names, weight = program(SOLVERS["classical"]), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y, t = torch.ones(1, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    with pytest.warns(UserWarning, match="adjoint_params changed nothing"):
        ys = names["odeint_adjoint"](lambda t, y: weight * y, y, t, adjoint_params=(weight,))
    ys[-1].sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), np.exp(0.7), rtol=1e-5)
    with pytest.raises(TypeError, match="unexpected argument 'adjont'"):
        names["odeint"](theirs, y, t, adjont=1)


def test_integrate_takes_tuples_and_complex_states():
    integrate, whole = program(SOLVERS["classical"])["integrate"], torch.float64
    a, b = integrate(
        lambda t, y: (-y[0], y[0].sum()), (torch.ones(2, 3, dtype=whole), torch.zeros((), dtype=whole)), 0, 1
    )
    np.testing.assert_allclose(a.numpy(), np.full((2, 3), np.exp(-1.0)), rtol=1e-5)
    np.testing.assert_allclose(b.numpy(), 6 * (1 - np.exp(-1.0)), rtol=1e-5)
    turned = integrate(lambda t, y: 1j * y * (1 + t.floor()), torch.ones(1, dtype=torch.complex128), 0.0, 0.5)
    np.testing.assert_allclose(turned.numpy(), np.exp(0.5j), rtol=1e-6)
    with pytest.raises(ValueError, match=r"f must return a slope like y, \(4, 2\), got \(4, 1\)"):
        integrate(lambda t, y: y[:, :1], torch.ones(4, 2), 0.0, 1.0)


def test_autograd_goes_through():
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y1 = program(SOLVERS["classical"])["integrate"](lambda t, y: rate * y, torch.ones(1, dtype=torch.float64), 0.0, 1.0)
    y1.sum().backward()
    np.testing.assert_allclose(rate.grad.numpy(), np.exp(0.7), rtol=1e-5)


def test_another_interval_than_it_was_trained_for_warns():
    integrate = program(SOLVERS["learned"].for_interval(0.0, 1.0))["integrate"]
    y = torch.ones(1, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        integrate(theirs, y, 0.0, 1.0)
        integrate(theirs, y, 2.0, 3.0)
    for t0, t1 in ((0.0, 0.5), (1.0, 0.0)):
        with pytest.warns(UserWarning, match="trained for an interval of length 1, not"):
            integrate(theirs, y, t0, t1)
