"""Data parallelism: losses, counts and weights are those of one device, on two devices and in two processes.

Devices are made by a flag that XLA reads once, and processes are joined once: both need processes of their own.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sharing import CASES, STOP

from kuttax.io import records
from kuttax.training import parallel

SCRIPT = Path(__file__).with_name("sharing.py")


def start(what, directory, **variables):
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    names = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **{name: str(value) for name, value in variables.items()}}
    command = [sys.executable, str(SCRIPT), what, str(directory)]
    return subprocess.Popen(command, env={**os.environ, **names}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(*processes):
    """The exit codes; output is shown where a test fails."""
    for process in processes:
        print(process.communicate(timeout=240)[0].decode())
    return [process.returncode for process in processes]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Where the processes write."""
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def found(directory):
    """What the process with two devices saw."""
    assert ended(start("devices", directory)) == [0]
    return json.loads((directory / "devices.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_devices_train_as_one(found, name):
    one, two = found["one"][name], found["two"][name]
    assert len(one["losses"]) == 10
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    assert (two["failures"], two["turns"]) == (one["failures"], one["turns"])


@pytest.mark.slow
def test_a_lost_sample_is_lost_on_its_device_alone(found):
    assert found["two"]["per-sample"]["failures"]["samples"] > 0
    assert found["two"]["per-sample"]["failures"]["steps"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["learned", "joint"])
def test_devices_exchange_sums_and_no_states(found, name):
    """The partitioner has shared the solve, and its gradient, rather than gathering the batch on every device."""
    assert not any(found["two"][name]["gathers"])
    assert all(found["two"][name]["reduces"])


@pytest.mark.slow
def test_a_stopped_run_on_two_devices_ends_in_the_same_bits(found):
    assert found["resumed"]["weights"] == found["two"]["learned"]["weights"]


@pytest.mark.slow
def test_mistakes_are_one_line(found):
    assert found["uneven"]["code"] == 2
    assert found["uneven"]["errors"] == (
        "kuttax: batch_size 63 cannot be shared evenly among 2 devices: give a multiple of them\n"
    )
    assert "JAX_NUM_PROCESSES" in found["incomplete"] and "\n" not in found["incomplete"]


@pytest.mark.slow
def test_two_processes_stop_and_resume_and_train_as_one(found, directory):
    """Of a run in two processes, of two devices each, the second is told to stop; both do, and go on from there."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": 2}
    assert ended(*[start("process", directory, JAX_PROCESS_ID=i, **variables) for i in range(2)]) == [0, 0]
    first, second = (json.loads((directory / f"process-{i}.json").read_text()) for i in range(2))
    codes = {"refused": 2, "stopped": 143, "resumed": 0}
    assert [{name: call["code"] for name, call in calls.items()} for calls in (first, second)] == [codes, codes]
    assert "is not empty" in first["refused"]["errors"] and second["refused"]["errors"] == ""
    assert f"going on at training step {STOP}" in first["resumed"]["said"] and second["resumed"]["said"] == ""
    alone, together = (records.read(directory / name / "metrics.jsonl") for name in ("alone", "together"))
    assert [row["step"] for row in together] == list(range(1, 51))
    np.testing.assert_allclose([row["loss"] for row in together], [row["loss"] for row in alone], rtol=1e-5)
    record = json.loads((directory / "together" / "record.json").read_text())
    assert (record["devices"], record["processes"]) == (4, 2)


@pytest.mark.experiment
def test_the_experiment_records_a_run(tmp_path):
    """experiments/scale-out, for a few steps of one case."""
    command = [sys.executable, "-m", "experiments.scale-out.run", "--smoke", "--out", str(tmp_path)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, timeout=240)
    (row,) = records.read(tmp_path / "records.jsonl")
    assert (row["setting"], row["devices"], row["processes"]) == ("two devices", 2, 1) and row["step_ms"] > 0


@pytest.mark.parametrize(("bind", "listens"), [(None, "host0:12345"), ("10.0.0.1:12345", "10.0.0.1:12345")])
def test_the_first_process_listens_on_the_address_that_is_given(monkeypatch, bind, listens):
    """JAX itself would listen on all interfaces."""
    found = {}
    for name, value in zip(parallel._GIVEN, ("host0:12345", "2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    if bind is not None:
        monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", bind)
    monkeypatch.setattr(parallel.jax.distributed, "initialize", lambda *given, **options: found.update(options))
    parallel.joined.__wrapped__()  # a process joins once
    assert found == {"coordinator_bind_address": listens}
