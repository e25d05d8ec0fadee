"""The benchmark of a GPU, in small and on the CPU: it resumes, stops in time, and its records make tables."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks import gpu
from benchmarks.cli import main as program
from benchmarks.training import TRAININGS
from benchmarks.workloads import ON_GPU, WORKLOADS
from kuttax.io import records


def main(arguments):
    """The command line, which ends well."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    assert not stop.value.code


@pytest.mark.experiment
def test_what_is_left_is_measured_by_the_next_call(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(ON_GPU, "small-dopri5-gpu", replace(ON_GPU["small-dopri5-gpu"], libraries=("kuttax",)))
    out = tmp_path / "gpu.jsonl"
    call = ["gpu", "--smoke", "--out", str(out), "--runs", str(tmp_path / "runs")]
    both = [*call, "--only", "small-dopri5-gpu,mnist-learned"]
    main([*both, "--minutes", "1e-6"])
    assert capfd.readouterr().out == "left: small-dopri5-gpu, mnist-learned; run the command again\n"
    main([*call, "--only", "small-dopri5-gpu"])
    first = records.read(out)
    assert [record["kind"] for record in first] == ["gradient", "forward"]
    main(both)
    assert capfd.readouterr().out.endswith("all is measured\n")
    found = records.read(out)
    assert found[:2] == first and len(found) == 3
    training = found[2]
    assert training["steps"] == 4 and training["step_ms"] > 0 and training["nfe"] == 8
    assert training["command"] == (
        "kuttax train digits --solver learned --stages 4 --steps 2 --train-steps 4 --batch-size 16 --width 4"
    )
    main(both)  # everything is there
    assert records.read(out) == found
    capfd.readouterr()
    main(["table", str(out)])
    text = capfd.readouterr().out
    assert "| small-dopri5-gpu | kuttax |" in text and "| mnist-learned | kuttax | 4 | 16 |" in text
    assert "## Targets" not in text  # none is about a GPU


def test_the_training_is_that_of_the_paper(tmp_path):
    for training in TRAININGS.values():
        words = training._words(tmp_path, smoke=False)
        assert words[:2] == ["train", "mnist"] and words[-2:] == ["--data-dir", str(tmp_path)]
        assert words[words.index("--train-steps") + 1] == "7500" and words[words.index("--batch-size") + 1] == "512"


def test_without_a_gpu_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_has_gpu", lambda: False)
    with pytest.raises(SystemExit) as stop:
        program(["gpu"])
    assert stop.value.code == 2 and "pip install 'kuttax[cuda]'" in capsys.readouterr().err


def test_workers_are_killed_when_the_time_is_over():
    killed = threading.Event()
    with gpu._killing({"one": SimpleNamespace(kill=killed.set)}, 0.01) as over:
        assert killed.wait(10) and over.is_set()
    late = threading.Event()
    with gpu._killing({"one": SimpleNamespace(kill=late.set)}, 60.0) as over:
        pass
    assert not late.is_set() and not over.is_set()


def test_no_gpu_workload_is_run_by_default():
    assert not ON_GPU.keys() & WORKLOADS.keys()
