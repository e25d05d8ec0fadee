"""The experiments on densities: their scripts at tiny sizes, and the table from records made by hand."""

from importlib import import_module
from types import SimpleNamespace

import pytest

from experiments import densities
from kuttax.io import records
from kuttax.training.checkpoint import load_run

density_2d, density_tables = (import_module(f"experiments.density-{name}.run") for name in ("2d", "tables"))


@pytest.fixture(autouse=True)
def no_certificate(monkeypatch):
    """What certificates are is tested elsewhere, and they would take most of the time."""
    found = SimpleNamespace(verdict="undecided", reasons=())
    monkeypatch.setattr(densities, "certify_run", lambda *_: found)


@pytest.mark.experiment
def test_density_2d_trains_times_and_draws_once(tmp_path):
    options = ["--data", "moons", "--methods", "learned, consistent", "--smoke", "--out", str(tmp_path)]
    for stage in ("train", "time"):
        density_2d.main([stage, *options])
    found = records.read(tmp_path / "records.jsonl")
    runs, times = ([r for r in found if r["kind"] == kind] for kind in ("run", "time"))
    assert [(r["method"], r["nfe"]) for r in runs] == [("learned, consistent", 8)]
    assert all(r["verdict"] == "undecided" for r in runs)
    assert [len(r["step_ms"]) for r in times] == [2]
    assert load_run(tmp_path / "runs" / "moons_learned-consistent_8_0")[0].name == "density"
    before = (tmp_path / "records.jsonl").read_bytes()
    for stage in ("train", "time", "draw"):
        density_2d.main([stage, *options])
    assert (tmp_path / "records.jsonl").read_bytes() == before
    assert "| moons | learned, consistent | 8.0 |" in (tmp_path / "table.md").read_text()


@pytest.mark.experiment
def test_density_tables_trains(tmp_path):
    options = ["--data", "iris", "--methods", "midpoint", "--smoke", "--out", str(tmp_path)]
    density_tables.main(["train", *options])
    (record,) = records.read(tmp_path / "records.jsonl")
    assert record["data"] == "iris" and record["metric"]["unit"] == "nats"


def test_the_table_pairs_runs_seed_by_seed():
    base = densities.BASELINE

    def run(method, seed, exact, own, seconds):
        about = {
            "kind": "run",
            "data": "moons",
            "method": method,
            "budget": None if method == base else 8,
            "seed": seed,
            "metric": {"unit": "nats"},
        }
        return {**about, "test_reference": exact, "test": own, "train_seconds": seconds, "nfe": 8.0, "verdict": "valid"}

    found = [
        run(base, 0, 2.0, 2.0, 100.0),
        run(base, 1, 3.0, 3.0, 200.0),
        run("learned", 0, 2.1, 2.0, 20.0),
        run("learned", 1, 3.3, 3.1, 50.0),
        {"kind": "run", "data": "moons", "method": "RK4", "budget": 8, "seed": 0, "error": "lost"},
        {"kind": "time", "data": "moons", "method": base, "budget": None, "nfe": 8, "step_ms": [10.0, 20.0, 40.0]},
        {"kind": "time", "data": "moons", "method": "learned", "budget": 8, "nfe": 8, "step_ms": [5.0, 5.0, 5.0]},
    ]
    text = densities.drawn(found)
    line = next(line for line in text.splitlines() if "| learned |" in line)
    assert "| 2.700 ± 0.85 | +0.200 ± 0.14 | -0.1500 ± 0.071 | 2 of 2 | 35 ± 21 (0.23x) | 5 (0.25x) | 2 |" in line
    assert "Failed: moons, RK4, seed 0: lost" in text
