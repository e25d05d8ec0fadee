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


def test_latents_that_a_pipeline_changes_count(tmp_path, rng):
    """A mask puts known pixels in their place after every step, as where an image is completed."""
    network, noise = Network(), torch.tensor(rng.standard_normal((2, 1, 8, 8)), dtype=torch.float32)
    ours, theirs = scheduler(SOLVERS["euler"], tmp_path / "s.py")(), diffusers.FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(sigmas=[1.0, 2 / 3, 1 / 3])
    ends = []
    for one in (ours, theirs):
        x = noise
        for t in one.timesteps:
            with torch.no_grad():
                x = one.step(network(x, t.expand(2)), t, x, return_dict=False)[0].clone()
            x[..., :4] = 0.5
        ends.append(x)
    np.testing.assert_allclose(*ends, atol=1e-6)


def test_latents_changed_within_a_step_move_its_end(tmp_path):
    """dx/dsigma = 1, so that every scheme ends at the noise, less one, and what was added on the way."""
    one = scheduler(SOLVERS["rk4"], tmp_path / "s.py")()
    x = torch.zeros(1, 1)
    for n, t in enumerate(one.timesteps):
        x = one.step(torch.ones(1, 1), t, x).prev_sample
        if n in (1, 3, 5):
            x = x + 10.0**n
    assert x.item() == pytest.approx(-1 + 10 + 1e3 + 1e5)
    with pytest.raises(ValueError, match="the sample is finished: call set_timesteps"):
        one.step(torch.ones(1, 1), t, x)


def test_a_solver_of_another_length_is_refused(tmp_path):
    for interval in ((0.0, 1.0), (1.0, 0.0)):
        kx.export.to_diffusers(SOLVERS["per step"].for_interval(*interval), tmp_path / "s.py")
    with pytest.raises(UserError, match="was fitted to t=0 to 3, and a pipeline's path goes from 1 to 0"):
        kx.export.to_diffusers(SOLVERS["per step"].for_interval(0.0, 3.0), tmp_path / "s.py")


def test_its_configuration_survives_a_folder(tmp_path):
    kind = scheduler(SOLVERS["rk4"], tmp_path / "s.py")
    kind(num_train_timesteps=500).save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.config.num_train_timesteps == 500 and len(again.timesteps) == 8


def test_a_sampler_that_scales_the_noise_is_refused(tmp_path, rng):
    with pytest.raises(UserError, match="scales it before its first evaluation"):
        kx.export.to_diffusers(moved(kx.student("free", 4), rng), tmp_path / "s.py")
