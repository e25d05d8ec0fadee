"""experiments/flow-images: its samplers and measures; skipped without PyTorch and diffusers."""

import importlib
import sys

import numpy as np
import pytest
from scipy.linalg import sqrtm

import kuttax as kx
from kuttax.io.records import read

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.experiment,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in diffusers
]


def part(name: str):
    return importlib.import_module(f"experiments.flow-images.{name}")


def test_the_frechet_distance_is_that_of_two_normal_distributions(rng):
    a, b = rng.normal(size=(300, 4)), 1 + rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    first, second = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert part("flows").frechet(a, b) == pytest.approx(expected, rel=1e-8)


def test_every_sampler_takes_its_evaluations_and_ends_where_the_flow_does():
    """dx/dt = -x: each sampler of 40 evaluations comes near exp(-1) x; the adaptive multistep ones too."""

    class Decay:
        def velocity(self, t, x):
            calls.append(float(t))
            return -x

        field = property(lambda self: kx.from_torch(self.velocity, dtype=torch.float32))

    calls, x = [], torch.linspace(-1, 1, 6).reshape(2, 3)
    for name, made in part("samplers").peers(40):
        calls.clear()
        found = made(Decay())(x)
        assert len(calls) == 40, name
        assert calls[0] < 2e-3, name  # diffusers begins at sigma 0.999
        np.testing.assert_allclose(found, np.exp(-1) * x, atol=0.03, err_msg=name)


def test_the_study_from_fits_to_tables(tmp_path):
    run = part("run")
    options = ["--flows", "8gaussians", "--nfe", "3", "4", "--seeds", "1", "--starts", "64", "--steps", "2", "--out"]
    run.main([*options, str(tmp_path)])
    found = read(tmp_path / "records.jsonl")
    assert {r["method"] for r in found if "seed" in r} == set(run.KINDS)
    assert {"Euler", "UniPC 2", "DPM-Solver++ 3"} <= {r["method"] for r in found}
    run.main([*options, str(tmp_path)])
    assert read(tmp_path / "records.jsonl") == found, "what is recorded is not run again"
    assert "| **best fitted / best of the others** |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "distances.svg").stat().st_size > 0


def test_the_networks_train_and_are_restored(tmp_path, rng, monkeypatch):
    train = part("train")
    arrays = {f"x_{name}": rng.integers(0, 256, (200, 28, 28), dtype=np.uint8) for name in ("train", "test")}
    arrays |= {f"y_{name}": np.arange(200) % 10 for name in ("train", "test")}
    np.savez(tmp_path / "mnist10k.npz", **arrays)
    options = ["mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "w"), "--steps", "2", "--epochs", "1"]
    train.main(options)
    flow = train.restored(train.flow_of("mnist"), tmp_path / "w" / "mnist-flow.npz")
    noise = torch.randn(2, 1, 28, 28)
    assert flow(torch.tensor(0.3), noise).shape == noise.shape
    torch.testing.assert_close(flow(torch.tensor(0.3), noise), flow(torch.tensor([0.3, 0.3]), noise))
    monkeypatch.setattr(train, "train_flow", lambda *_: pytest.fail("it is trained again"))
    train.main(options)


def teardown_module():
    for name in [name for name in sys.modules if name.startswith("experiments.flow-images")]:
        del sys.modules[name]
