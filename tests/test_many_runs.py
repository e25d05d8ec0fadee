"""Many runs of one comparison: seeds by their numbers, shards of the runs, shards merged, and runs on workers."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from small_runs import SMALL

from kuttax.commands.batch import compared_run, workers
from kuttax.commands.options.seeds import Seeds
from kuttax.commands.options.shard import Shard
from kuttax.io.folder import Folder
from kuttax.io.lock import Lock
from kuttax.io.records import read
from kuttax.training.checkpoint import load_run

COMPARE = ("compare", "digits", "--methods", "rk4", "midpoint", "--nfe", "4", *SMALL)


@pytest.fixture
def faked(monkeypatch):
    """Comparisons train nothing."""

    def fake(trainer, seed, about, *rest, **options):
        values = dict.fromkeys(("validation", "test", "test_reference", "nfe", "train_seconds"), 10.0)
        return {"kind": "run", "metric": {"name": "accuracy", "unit": "%"}, **about, **values, "seed": seed}

    monkeypatch.setattr(compared_run, "run", fake)


def runs(directory):
    return [(r["method"], r["seed"]) for r in read(directory / "records.jsonl") if r["kind"] == "run"]


@pytest.mark.parametrize(
    ("word", "seeds"),
    [("3", (0, 1, 2)), ("3,5,8", (3, 5, 8)), ("8,3", (8, 3)), ("3,", (3,)), ("0,", (0,)), ("3,3", (3,))],
)
def test_seeds_are_a_count_or_a_list(word, seeds):
    assert Seeds.read(word) == seeds
    assert Seeds.read(str(Seeds.read(word))) == seeds


@pytest.mark.parametrize(("count", "of"), [(20, 45), (20, 20), (3, 2), (1, 5)])
def test_shards_are_a_partition_of_equal_parts(count, of):
    parts = [Shard(index, count).of(list(range(of))) for index in range(1, count + 1)]
    assert sorted(run for part in parts for run in part) == list(range(of))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_second_of_three_shards_runs_every_third_pair_from_the_second(tmp_path, kuttax_main, faked, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kuttax_main(*COMPARE, "--seeds", "4,7,5", "--shard", "2/3")
    assert (code, err) == (0, "")
    everything = [(method, seed) for seed in (4, 7, 5) for method in ("rk4", "midpoint")]
    assert runs(tmp_path / "runs" / "compare-digits-2-of-3") == everything[1::3]


def test_a_shard_without_runs_is_no_error(tmp_path, kuttax_main, faked):
    code, out, err = kuttax_main(*COMPARE, "--seeds", "1", "--shard", "3/3", "--out", tmp_path / "out")
    assert (code, err) == (0, "") and "shard 3/3 has no runs: there are only 2" in out
    assert runs(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        ("0/3", "--shard must be one of 1/3 to 3/3, got 0/3"),
        ("4/3", "--shard must be one of 1/3 to 3/3, got 4/3"),
        ("1/0", "--shard must have a number of shards that is >= 1, got 1/0"),
        ("second", "--shard must be a part of all runs, such as 2/20, got 'second'"),
    ],
)
def test_a_shard_that_does_not_exist_is_refused(kuttax_main, shard, says):
    code, out, err = kuttax_main(*COMPARE, "--shard", shard)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1


# Merged


TIMES = ("train_seconds", "compile_seconds", "step_ms", "predict_ms", "when")


def numbers(directory):
    """The records of the runs, without times and dates."""
    found = [record for record in read(directory / "records.jsonl") if record["kind"] == "run"]
    return [{name: value for name, value in record.items() if name not in TIMES} for record in found]


@pytest.fixture
def sharded(tmp_path, kuttax_main, faked):
    """Makes shards of a comparison of four runs; returns their folders."""

    def make(count, *options):
        folders = [tmp_path / f"part{index}" for index in range(1, count + 1)]
        for index, folder in enumerate(folders, 1):
            shard = ("--shard", f"{index}/{count}")
            assert kuttax_main(*COMPARE, "--seeds", "2", *shard, *options, "--out", folder)[0] == 0
        return folders

    return make


@pytest.mark.slow
@pytest.mark.usefixtures("any_certificate")
def test_merged_shards_are_the_whole_comparison(tmp_path, kuttax_main):
    """The last of five shards has no run; the folders are given in another order than that of the shards."""
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    assert kuttax_main(*COMPARE, "--seeds", "2", "--out", whole)[0] == 0
    parts = [tmp_path / f"part{index}" for index in range(1, 6)]
    for index, part in enumerate(parts, 1):
        assert kuttax_main(*COMPARE, "--seeds", "2", "--shard", f"{index}/5", "--out", part)[0] == 0
    code, out, err = kuttax_main("report", *reversed(parts), "--out", merged)
    assert (code, err) == (0, "") and "not among" not in out
    assert numbers(merged) == numbers(whole) and len(numbers(whole)) == 4
    assert not any(math.isnan(record["test"]) for record in numbers(whole))
    drawn = lambda folder: {path.name for path in folder.iterdir() if path.suffix in (".png", ".md", ".csv", ".html")}
    assert drawn(merged) == drawn(whole) >= {"curves.png", "accuracy_nfe.png", "table.md", "index.html"}


def test_merged_shards_are_in_the_order_of_the_whole(tmp_path, kuttax_main, sharded):
    first, second, third = sharded(3)
    code, out, err = kuttax_main("report", third, first, second, "--out", tmp_path / "merged")
    assert (code, err) == (0, "") and "not among" not in out
    assert runs(tmp_path / "merged") == [(method, seed) for seed in (0, 1) for method in ("rk4", "midpoint")]
    code, out, _ = kuttax_main("report", first, third, "--out", tmp_path / "merged", "--overwrite")
    assert code == 0 and "not among these folders: shard 2/3" in out
    assert sorted(runs(tmp_path / "merged")) == [("midpoint", 1), ("rk4", 0), ("rk4", 1)]


def test_what_is_no_one_comparison_is_not_merged(tmp_path, kuttax_main, sharded):
    first, second = sharded(2)
    other, twice, merged = tmp_path / "other", tmp_path / "twice", tmp_path / "merged"
    shutil.copytree(first, twice)
    assert kuttax_main(*COMPARE, "--seeds", "9,", "--lr", "0.02", "--out", other)[0] == 0
    wider = tmp_path / "wider"
    assert kuttax_main(*COMPARE, "--seeds", "9,", "--width", "5", "--out", wider)[0] == 0
    empty = tmp_path / "empty"
    assert kuttax_main(*COMPARE, "--seeds", "1", "--shard", "3/3", "--out", empty)[0] == 0
    for folders, says in [
        ((first, twice), f"both {first} and {twice} recorded RK4, 1 step, seed 0: leave out one of them"),
        ((first, other), f"{first} and {other} are comparisons of different options (--lr was 0.01, and is 0.02)"),
        ((first, wider), "--width was 4, and is 5"),
        ((first, tmp_path / "nowhere"), f"no records at {tmp_path / 'nowhere' / 'records.jsonl'}"),
        ((empty, empty), f"there are no runs in {empty}, {empty}"),
    ]:
        code, out, err = kuttax_main("report", *folders, "--out", merged)
        assert (code, out) == (2, "") and says in err and err.count("\n") == 1
        assert not merged.exists()
    for out, says in [(second, "is one of the folders to merge"), (other, "is not empty: give --overwrite")]:
        code, _, err = kuttax_main("report", first, second, "--out", out)
        assert code == 2 and says in err
    (second / "config.json").unlink()
    assert "has no config.json" in kuttax_main("report", first, second, "--out", merged)[2]


def test_comparisons_of_two_tasks_are_not_merged(tmp_path, kuttax_main, sharded):
    (first,) = sharded(1)
    other = tmp_path / "other"
    options = ("--samples", "60", "--test-samples", "10", "--width", "4", "--batch-size", "8")
    assert kuttax_main("compare", "spheres", "--methods", "rk4", "--seeds", "1", *options, "--out", other)[0] == 0
    says = f"{first} compares on digits, {other} on spheres: report each by itself"
    assert says in kuttax_main("report", first, other, "--out", tmp_path / "merged")[2]


# Other processes


def test_workers_without_dask_are_refused_in_one_line(tmp_path, kuttax_main, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for option, value in (("--workers", "2"), ("--scheduler", "tcp://127.0.0.1:8786")):
        code, out, err = kuttax_main(*COMPARE, option, value, "--out", tmp_path / "out")
        assert (code, out) == (2, "") and err.count("\n") == 1 and not (tmp_path / "out").exists()
        assert f"{option} needs dask" in err and "pip install 'kuttax[cluster]', or use --shard" in err


def test_a_scheduler_has_workers_of_its_own(kuttax_main):
    code, _, err = kuttax_main(*COMPARE, "--workers", "2", "--scheduler", "tcp://127.0.0.1:8786")
    assert code == 2 and "--workers changes nothing with --scheduler, which has workers of its own: leave it out" in err
    assert "--workers must be >= 1, got 0" in kuttax_main(*COMPARE, "--workers", "0")[2]


def test_a_scheduler_that_does_not_answer_is_refused_before_anything_is_written(tmp_path, kuttax_main):
    pytest.importorskip("distributed")
    code, out, err = kuttax_main(*COMPARE, "--scheduler", "bogus://x:1", "--out", tmp_path / "out")
    assert (code, out) == (2, "") and "--scheduler bogus://x:1: no dask scheduler answers there" in err
    assert err.count("\n") == 1 and not (tmp_path / "out").exists()


PROGRAM = """
import os, signal, sys

import distributed

from kuttax.commands import compare, main
from kuttax.training.log import Log

_, marker, how, *words = sys.argv


def dies_once(*call):
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        Log.__call__ = lambda self, now: os.kill(os.getpid(), signal.SIGKILL) if now.step > 2 else None
    return in_worker(*call)


in_worker = compare.in_worker

if __name__ == "__main__":
    if how == "die":
        compare.in_worker = dies_once
        main.main(words)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        main.main([*words, "--scheduler", cluster.scheduler_address])
"""
"""kuttax whose first worker dies in the middle of its first run, or with a scheduler that is there before."""


def process(*command, **environment):
    """Runs Python; returns exit code, standard output and standard error."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=environment, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The records of two methods and two seeds, one run after the other, in a process that is no test's."""
    pytest.importorskip("distributed")
    out = tmp_path_factory.mktemp("serial") / "out"
    assert process("-m", "kuttax", *COMPARE, "--seeds", "2", "--out", out)[::2] == (0, "")
    return by_run(out)


def by_run(directory):
    """The records of the runs, without times and dates."""
    found = numbers(directory)
    keyed = {(record["label"], record["seed"]): record for record in found}
    assert len(keyed) == len(found), "each run is recorded once"
    return keyed


@pytest.mark.slow
def test_runs_on_workers_are_those_of_one_process_bit_for_bit(tmp_path, serial):
    """Two of four are recorded first, as if a comparison had been stopped."""
    out = tmp_path / "out"
    assert process("-m", "kuttax", *COMPARE, "--seeds", "1", "--workers", "1", "--out", out)[::2] == (0, "")
    kept = (out / "records.jsonl").read_bytes()
    code, said, err = process("-m", "kuttax", *COMPARE, "--seeds", "2", "--workers", "2", "--out", out, "--resume")
    assert (code, err) == (0, "") and said.count(": recorded") == 2 and said.count(" %, NFE ") == 2
    assert (out / "records.jsonl").read_bytes().startswith(kept)
    assert by_run(out) == serial and len(serial) == 4
    names = {f"{method}-nfe4-seed{seed}" for method in ("rk4", "midpoint") for seed in (0, 1)}
    assert {path.name for path in (out / "runs").iterdir()} == names
    for name in names:
        assert load_run(out / "runs" / name)[0].name == "digits"
        assert [row["step"] for row in read(out / "runs" / name / "metrics.jsonl")] == [2, 4]
        assert not (out / "runs" / name / "checkpoints").exists()
    assert not Folder(out, "compare").strangers()


@pytest.mark.slow
def test_a_worker_that_dies_costs_a_repetition_not_the_comparison(tmp_path, serial):
    out, marker, program = tmp_path / "out", tmp_path / "died", tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ("--seeds", "2", "--workers", "2", "--checkpoint-seconds", "0", "--out", out)
    assert process(program, marker, "die", *COMPARE, *options)[::2] == (0, "")
    assert marker.exists() and by_run(out) == serial


def test_a_run_waits_for_a_process_that_is_believed_to_be_dead(tmp_path, monkeypatch):
    """The other process still writes into the folder at the first two attempts."""
    other, attempts = Lock(tmp_path), []
    other.acquire()
    monkeypatch.setattr(workers, "_PAUSE", 0.01)

    def work(path):
        attempts.append(path)
        if len(attempts) == 3:
            other.release()
        with Lock(path) as lock:
            lock.acquire()
            return "done"

    assert workers.once_free(work, tmp_path) == "done"
    assert attempts == [tmp_path] * 3


@pytest.mark.exhaustive
def test_a_run_whose_workers_always_die_is_a_failure(tmp_path, serial):
    out, marker, program = tmp_path / "out", tmp_path / "died", tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ("--seeds", "1", "--methods", "rk4", "--workers", "1", "--out", out)
    code, said, err = process(
        program, marker, "die", *COMPARE, *options, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0"
    )
    assert (code, err) == (1, "") and "RK4, 1 step, seed 0: failed: its worker process died at every attempt" in said
    assert [record["kind"] for record in read(out / "records.jsonl")] == ["command", "failure"]


@pytest.mark.exhaustive
def test_a_running_scheduler_takes_the_runs(tmp_path, serial):
    out, program = tmp_path / "out", tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert process(program, "-", "scheduler", *COMPARE, "--seeds", "2", "--out", out)[::2] == (0, "")
    assert by_run(out) == serial


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.exhaustive),
    ],
)
def test_a_signal_ends_all_processes_in_one_line(tmp_path, number, code):
    """Ctrl-C reaches the whole group of processes, as in a terminal; SIGTERM the first process alone."""
    pytest.importorskip("distributed")
    options = ("--seeds", "1", "--train-steps", "1000000", "--workers", "2", "--out", str(tmp_path / "out"))
    command = [sys.executable, "-m", "kuttax", *COMPARE, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}, **pipes) as run:
        began = time.monotonic()
        while len(list(tmp_path.glob("out/runs/*/metrics.jsonl"))) < 2 and time.monotonic() - began < 100:
            time.sleep(0.1)
        (os.killpg if number == signal.SIGINT else os.kill)(run.pid, number)
        _, err = run.communicate(timeout=60)
    assert run.returncode == code and err.startswith("kuttax: stopped") and err.count("\n") == 1 and "--resume" in err
    assert len(list(tmp_path.glob("out/runs/*/checkpoints/*.ckpt"))) >= 2
    sizes = lambda: [path.stat().st_size for path in sorted(tmp_path.glob("out/runs/*/metrics.jsonl"))]
    before = sizes()
    time.sleep(1)
    assert sizes() == before, "no worker goes on"
