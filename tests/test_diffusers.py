"""A solver as a scheduler of diffusers: a pipeline gives the numbers that `kx.solve` gives."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax import UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'kuttax[torch]'")
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("HF_HUB_OFFLINE", "1")
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")  # those of diffusers

SOLVERS = {
    "euler": kx.FixedSteps(kx.tableaus.EULER, 3),
    "rk4": kx.FixedSteps(kx.tableaus.RK4, 2),
    "per step": kx.student("per_step", 6, dtype=np.float32),
    "anchored": kx.student("anchored", 4, dtype=np.float32),
}


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x, timestep):
        time = (timestep / 1000).reshape(-1, 1, 1, 1) * torch.ones_like(x)
        return torch.tanh(self.layer(torch.cat([x, time], 1)))


class Pipeline(diffusers.DiffusionPipeline):
    """The loop of diffusers' flow-matching pipelines."""

    def __init__(self, network, scheduler):
        super().__init__()
        self.register_modules(network=network, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, noise, num_inference_steps=50):
        self.scheduler.set_timesteps(num_inference_steps, device="cpu")
        self.scheduler.set_begin_index(0)
        x = noise
        for t in self.scheduler.timesteps:
            v = self.network(x, t.expand(len(x)))
            x = self.scheduler.step(v, t, x, return_dict=False)[0]
        return x


def scheduler(solver, path):
    kx.export.to_diffusers(solver, path)
    spec = importlib.util.spec_from_file_location("scheduler_kuttax", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.KuttaxScheduler


def moved(solver, rng):
    return jax.tree.map(lambda x: x + np.asarray(0.05 * rng.standard_normal(x.shape), x.dtype), solver)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_pipeline_samples_as_we_solve(name, tmp_path, rng):
    solver, network = SOLVERS[name], Network()
    solver = moved(solver, rng) if solver.learned else solver
    pipeline = Pipeline(network, diffusers.FlowMatchEulerDiscreteScheduler())
    noise = torch.tensor(rng.standard_normal((4, 1, 8, 8)), dtype=torch.float32)
    pipeline.scheduler = scheduler(solver, tmp_path / "scheduler_kuttax.py")()
    field = kx.from_torch(lambda sigma, x: network(x, 1000 * sigma.expand(len(x))), dtype=torch.float32)
    expected = kx.solve(field, jnp.asarray(noise.numpy()), 1.0, 0.0, solver=solver, batch_axis=0).y1
    for _ in range(2):  # a second run begins anew
        np.testing.assert_allclose(pipeline(noise), expected, rtol=1e-5, atol=2e-6)


def test_three_euler_steps_are_those_of_diffusers(tmp_path, rng):
    noise = torch.tensor(rng.standard_normal((2, 1, 8, 8)), dtype=torch.float32)
    pipeline = Pipeline(Network(), scheduler(SOLVERS["euler"], tmp_path / "s.py")())
    ours = pipeline(noise)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler()
    x = noise
    theirs.set_timesteps(sigmas=[1.0, 2 / 3, 1 / 3])
    for t in theirs.timesteps:
        with torch.no_grad():
            x = theirs.step(pipeline.network(x, t.expand(2)), t, x, return_dict=False)[0]
    np.testing.assert_allclose(ours, x, atol=1e-6)


def test_its_configuration_survives_a_folder(tmp_path):
    kind = scheduler(SOLVERS["rk4"], tmp_path / "s.py")
    kind(num_train_timesteps=500).save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.config.num_train_timesteps == 500 and len(again.timesteps) == 8


def test_a_sampler_that_scales_the_noise_is_refused(tmp_path, rng):
    with pytest.raises(UserError, match="scales it before its first evaluation"):
        kx.export.to_diffusers(moved(kx.student("free", 4), rng), tmp_path / "s.py")
