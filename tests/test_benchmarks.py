"""The benchmarks at tiny sizes: every workload of ours runs, counts are true, reports say what is in the records."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import correlate

from benchmarks import oracle
from benchmarks.cli import main as program
from benchmarks.libraries import LIBRARIES, Library, jax_fields
from benchmarks.measure import Turns, measure
from benchmarks.problems import Problem
from benchmarks.results import Results
from benchmarks.targets import TARGETS, Target
from benchmarks.worker import Worker
from benchmarks.workload import STAGES
from benchmarks.workloads import WORKLOADS, find
from kuttax.io import records


def main(arguments):
    """The command line, which ends well."""
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    assert not stop.value.code


ROOT = Path(__file__).parents[1]
OURS = [name for name, library in LIBRARIES.items() if library.module in ("kuttax", "limit")]


def once():
    """What of ours runs in each workload, {workload: libraries}, without what is equal in small to an earlier one.

    The larger fields take long to compile: one workload of each, since small ones have every method and variant.
    """
    seen, found = set(), {}
    for name in WORKLOADS:
        small = find(name, smoke=True)
        is_large = small.problem.field in ("unet", "transformer")
        how = () if is_large else (small.steps, small.method)
        names = ("kuttax", "limit") if is_large else OURS
        new = [lib for lib in small.libraries if lib in names and (small.problem, *how, lib) not in seen]
        seen |= {(small.problem, *how, library) for library in new}
        if new:
            found[name] = new
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A file with the records of every different workload of ours, measured in this process."""
    path = tmp_path_factory.mktemp("benchmarks") / "records.jsonl"
    for name, libraries in once().items():
        workers = {library: SimpleNamespace(ask=Worker(library, "cpu").answer) for library in libraries}
        for record in measure(find(name, smoke=True), workers, Turns(2, 1.0, 3, pause=0.0), None, smoke=True):
            records.append(path, record)
    return path


@pytest.mark.experiment
def test_every_workload_of_ours_runs_and_all_evaluate_as_often(measured):
    found = records.read(measured)
    assert {(record["workload"], record["name"]) for record in found} == {
        (w, n) for w, ns in once().items() for n in ns
    }
    for record in found:
        assert len(record["rounds"]) == 2 and all(len(repeats) == 3 for repeats in record["rounds"])
        assert min(min(repeats) for repeats in record["rounds"]) > 0
        assert record["first_call_s"] > 0 and record["compile_s"] > 0 and record["versions"]["jax"] == jax.__version__
        if record["steps"] is not None:
            twice = 2 if record["variant"] == "reversible" else 1
            intervals = record["times"] if record["own_times"] else 1
            assert record["nfe"] == twice * STAGES[record["method"]] * record["steps"] * intervals
        elif record["name"] == "limit":
            ours = [r for r in found if r["workload"] == record["workload"] and r["name"] == "kuttax"]
            assert record["nfe"] == ours[0]["nfe"]


@pytest.mark.parametrize("name", ["small-rk4", "mixed-dopri5", "mlp2-dopri8"])
def test_what_is_recorded_as_nfe_is_how_often_the_field_is_called(name, monkeypatch):
    calls, plain = [], jax_fields.field

    def counting(problem):
        def field(t, y, weights):
            jax.debug.callback(lambda: calls.append(0))
            return plain(problem)(t, y, weights)

        return field

    monkeypatch.setattr(jax_fields, "field", counting)
    workload, counts = replace(find(name, smoke=True), per_sample=False), None
    for library in ("kuttax", "limit"):
        run = LIBRARIES[library].build(workload, "cpu", counts)
        run.forward()
        calls.clear()
        found = run.forward()[1]
        jax.effects_barrier()
        counts = counts or {key: float(value) for key, value in found.items()}
        assert len(calls) == counts["nfe"], library


def numpy_mlp(t, y, weights):
    for i in range(0, len(weights), 2):
        y = np.tanh(y) if i else y
        y = np.column_stack([y, np.full(len(y), t)]) @ weights[i] + weights[i + 1]
    return y


def numpy_conv(t, y, weights):
    for i in range(0, len(weights), 2):
        y = np.tanh(y) if i else y
        y = np.concatenate([y, np.full_like(y[:, :1], t)], 1)
        padded = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
        maps = [[correlate(image, kernel, "valid")[0] for kernel in weights[i]] for image in padded]
        y = np.array(maps) + weights[i + 1][:, None, None]
    return y


def numpy_relaxation(t, y, weights):
    slope = y[:, -1:] * (numpy_mlp(t, y[:, :-1], weights) - y[:, :-1])
    return np.column_stack([slope, np.zeros(len(y))])


@pytest.mark.parametrize("name", ["small-rk4", "conv-rk4", "mixed-dopri5"])
def test_the_fields_against_numpy(name):
    problem = find(name, smoke=True).problem
    weights, y0 = [w.astype(float) for w in problem.weights()], problem.y0().astype(float)
    expected = {"mlp": numpy_mlp, "conv": numpy_conv, "relaxation": numpy_relaxation}[problem.field](0.3, y0, weights)
    given = jax_fields.field(problem)(0.3, jnp.asarray(y0), [jnp.asarray(w) for w in weights])
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.experiment
def test_the_reference_against_scipy_and_a_finite_difference(rng):
    problem = Problem("mlp", (2, 4, 2), batch=3, t1=1.5, times=4)
    weights, y0, ts = [w.astype(float) for w in problem.weights()], problem.y0().astype(float), problem.ts()

    def outputs(weights, y0):
        slope = lambda t, y: numpy_mlp(t, y.reshape(y0.shape), weights).ravel()
        sol = solve_ivp(slope, (0.0, 1.5), y0.ravel(), "DOP853", ts, rtol=1e-12, atol=1e-12, max_step=0.05)
        return sol.y.T.reshape(-1, *y0.shape)

    truth = oracle.solve(problem)
    assert truth.output_error(outputs(weights, y0)) < 1e-9
    direction, turn = [rng.normal(size=w.shape) for w in weights], rng.normal(size=y0.shape)
    ends = [
        np.mean(outputs([w + h * d for w, d in zip(weights, direction, strict=True)], y0 + h * turn) ** 2)
        for h in (1e-5, -1e-5)
    ]
    slope = sum(np.sum(g * d) for g, d in zip([*truth.weights, truth.y0], [*direction, turn], strict=True))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-7)


def test_own_times_are_random_sorted_and_end_together():
    ts = WORKLOADS["ragged-dopri5"].problem.ts()
    assert ts.shape == (256, 100) and ts.dtype == np.float32
    assert np.all(np.diff(ts, axis=1, prepend=0) > 0) and np.all(ts[:, -1] == 10)
    assert len({row.tobytes() for row in ts}) == 256
    uniform = np.sort(np.random.default_rng(0).uniform(0, 10, (256, 100)), axis=1)
    np.testing.assert_allclose(np.std(np.diff(ts)), np.std(np.diff(uniform)), rtol=0.1)


@pytest.mark.experiment
def test_the_reference_of_own_times_is_that_of_every_sample_alone():
    problem = Problem("mlp", (2, 4, 2), batch=3, t1=1.5, times=4, own_times=True)
    weights, ts = [w.astype(float) for w in problem.weights()], problem.ts()
    truth = oracle.solve(problem)
    assert truth.outputs.shape == (4, 3, 2)
    for n, y0 in enumerate(problem.y0().astype(float)):
        slope = lambda t, y: numpy_mlp(t, y[None], weights)[0]
        sol = solve_ivp(slope, (0.0, 1.5), y0, "DOP853", ts[n], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(truth.outputs[:, n], sol.y.T, rtol=1e-9, atol=1e-9)


@pytest.mark.experiment
@pytest.mark.parametrize("name", ["ragged-rk4", "ragged-dopri5"])
def test_with_own_times_all_libraries_solve_the_same(name):
    """Outputs and gradients against the reference; the first sample has the common times in both solves."""
    workload = find(name, smoke=True)
    workload = replace(workload, steps=workload.steps and 8, tolerance=workload.tolerance and 1e-6)
    truth = oracle.solve(workload.problem)
    for library in ("kuttax", "kuttax-joint", "diffrax", "diffrax-tuned")[:: 1 if workload.steps is None else 2]:
        run = LIBRARIES[library].build(workload, "cpu", None)
        weights, y0 = run.gradient()
        assert truth.output_error(run.numpy(run.forward()[0])) < 1e-5, library
        assert truth.gradient_error([run.numpy(w) for w in weights], run.numpy(y0)) < 1e-4, library
    first = workload.problem.ts()[0]
    common = LIBRARIES["kuttax-common"].build(workload, "cpu", None)
    np.testing.assert_array_equal(common.table, first)
    own = LIBRARIES["kuttax"].build(workload, "cpu", None)
    np.testing.assert_allclose(common.forward()[0][:, 0], own.forward()[0][:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.experiment
def test_a_common_grid_takes_the_tolerance_of_own_grids(measured):
    found = [r for r in records.read(measured) if r["workload"] == "ragged-dopri5"]
    assert LIBRARIES["kuttax-joint-common"].twin == "kuttax-joint" and LIBRARIES["kuttax-common"].twin == "kuttax"
    assert all(library.twin is None for name, library in LIBRARIES.items() if "common" not in name)
    asked = []

    def worker(name, tolerance):
        def ask(message):
            asked.append((name, message["tolerance"]))
            return {"skipped": "no"} if name == "limit" else {"kinds": {}, "tolerance": tolerance, "error_y1": 1.0}

        return SimpleNamespace(ask=ask)

    workload = replace(find("ragged-dopri5", smoke=True), kinds=())
    workers = {name: worker(name, 3e-4) for name in ("kuttax-common", "kuttax")}
    measure(workload, workers, Turns(0, 1.0, 3), None, smoke=True)
    assert asked == [("kuttax", None), ("kuttax-common", 3e-4)]
    for name in ("kuttax", "kuttax-joint"):
        own, common = (next(r for r in found if r["name"] == n) for n in (name, f"{name}-common"))
        assert own["tolerance"] == common["tolerance"] and own["accepted"] == common["accepted"]


def test_errors_are_relative_l2_errors():
    truth = oracle.Reference(np.array([3.0, 4.0]), [np.array([1.0]), np.array([0.0])], np.array([2.0]))
    assert truth.output_error(np.array([3.0, 4.5], np.float32)) == pytest.approx(0.1)
    assert truth.gradient_error([np.array([1.0]), np.array([0.0])], np.array([2.5])) == pytest.approx(0.25)
    assert truth.gradient_error([np.array([1.0]), np.array([0.3])], np.array([2.0])) == pytest.approx(0.3)


def test_the_ladder_stops_before_the_error_first_exceeds_the_target(tmp_path):
    """A library whose error is its tolerance, but for one lucky rung."""
    truth = oracle.Reference(np.ones(1), [np.ones(1)], np.ones(1))
    truth.save(tmp_path / "truth.npz")
    run = SimpleNamespace(tolerance=1e-3, compile=lambda kind: {}, numpy=np.asarray, device=lambda: "")
    run.device_peak_mib = lambda: None
    run.gradient = lambda: ([np.ones(1)], np.ones(1))
    run.forward = lambda: (np.ones(1) + run.tolerance * (run.tolerance != 1e-3 * 2**4), {"nfe": 1})
    worker = Worker("kuttax", "cpu")
    worker.library = SimpleNamespace(build=lambda *_: run, module="", twin=None, packages=())
    message = {"do": "prepare", "workload": "small-dopri5", "smoke": True, "counts": None, "target": 3e-3}
    reply = worker.answer({**message, "reference": str(tmp_path / "truth.npz")})
    assert reply["tolerance"] == 2e-3 and reply["error_y1"] == pytest.approx(2e-3)


def record(name, rounds, workload="wide-rk4", date="2026-01-02", **fields):
    about = {"name": name, "workload": workload, "rounds": rounds, "date": date, "kind": "gradient", "group": "fixed"}
    return (
        about
        | {"smoke": False, "nfe": 32, "steps": 8, "elsewhere": [0.0], "left_out": {}, "cores": 2, "device": "one"}
        | fields
    )


def results(*found):
    return Results(tuple({"versions": {"jax": "1"}, **one} for one in found))


def test_ratios_are_of_the_same_rounds_and_targets_are_judged_by_their_median():
    slow = record("diffrax", [[4.0, 9.0, 3.0], [6.0], [10.0]])
    fast = record("kuttax", [[1.0, 2.0, 0.5], [2.0], [2.0]])
    ratio = results(slow, fast).time_ratio("wide-rk4", "diffrax", "kuttax")
    assert ratio == (4.0, 3.5, 4.5)
    assert Target("", 4.0, True, lambda _: ratio).is_met(ratio)
    assert not Target("", 3.9, False, lambda _: ratio).is_met(ratio)
    other_day = record("diffrax", [[1.0]], date="2026-01-01")
    assert results(other_day, fast).time_ratio("wide-rk4", "diffrax", "kuttax") is None


def test_memory_is_counted_in_states_a_step():
    state = 256 * 3 * 4 / 2**20
    fields = {"group": "memory", "batch": 256, "sizes": [3, 64, 64, 3]}
    found = results(
        *(
            record("kuttax-steps", [[1.0]], f"memory-{n}", steps=n, temp_mib=10 + 1.07 * n * state, **fields)
            for n in (100, 1000)
        )
    )
    target = next(target for target in TARGETS if "kuttax-steps" in target.text)
    assert target.measure(found).median == pytest.approx(1.07)


def test_compile_times_are_held_against_diffrax_and_against_a_smaller_tableau():
    shallow = record("kuttax", [[1.0]], "mlp32-dopri5", compile_s=4.0)
    found = results(
        shallow,
        *(record(name, [[1.0]], "mlp32-dopri8", compile_s=s) for name, s in (("kuttax", 6.0), ("diffrax", 8.0))),
    )
    measured = {target.text: target.measure(found) for target in TARGETS}
    assert measured["compile time of the gradient, mlp32-dopri8: kuttax / diffrax"].median == 0.75
    assert measured["compile time of the gradient, kuttax: mlp32-dopri8 / mlp32-dopri5"].median == 1.5
    assert measured["compile time of the gradient, mlp32-dopri5: kuttax / diffrax"] is None


def test_a_tuned_diffrax_has_one_target_on_every_workload():
    texts = [target.text for target in TARGETS]
    assert len(texts) == len(set(texts))
    for name, workload in WORKLOADS.items():
        assert (f"gradient, {name}: diffrax-tuned / kuttax" in texts) == (
            {"kuttax", "diffrax-tuned"} <= set(workload.libraries)
        )


@pytest.mark.experiment
def test_table_and_plots_come_from_the_records(measured, tmp_path, capsys):
    main(["table", str(measured), "--out", str(tmp_path / "table.md")])
    text = (tmp_path / "table.md").read_text()
    for title in (
        "Targets",
        "Gradient, fixed steps",
        "Gradient, adaptive steps",
        "Forward",
        "Fields, gradient",
        "Compile time",
        "Memory",
        "Own times for each sample, gradient",
    ):
        assert f"## {title}\n" in text
    assert "measure nothing" in text
    assert all(target.text in text for target in TARGETS)
    ours = [line for line in text.splitlines() if line.startswith("| small-rk4 | kuttax |")]
    assert len(ours) == 3 and all(" 1.00 " in line for line in ours)
    main(["plot", str(measured), "--out", str(tmp_path / "plots")])
    drawn = {Path(line) for line in capsys.readouterr().out.split()}
    assert {path.name for path in drawn} >= {"gradient_ratios.png", "memory.svg"}
    assert all(path.stat().st_size > 5000 for path in drawn)


def test_the_table_marks_what_is_not_equal(tmp_path, capsys):
    found = [
        record("kuttax", [[1.0]], left_out={"torchode": "it has no RK4"}, versions={}),
        record(
            "diffrax",
            [[2.0]],
            nfe=40,
            left_out={"torchode": "it has no RK4"},
            error_y1=2e-3,
            target_error=1e-3,
            elsewhere=[0.0, 0.4],
            versions={},
        ),
    ]
    for one in found:
        records.append(tmp_path / "r.jsonl", one)
    main(["table", str(tmp_path / "r.jsonl")])
    text = capsys.readouterr().out
    assert "| wide-rk4 | diffrax | 2000 | 2.00 [2.00, 2.00] | 40 (differs) | 2.0e-03 (above) |  |" in text
    assert "wide-rk4 (40%)" in text
    assert "- Left out: torchode of wide-rk4 (it has no RK4)." in text


@pytest.mark.experiment
def test_run_from_end_to_end(tmp_path, capsys):
    out = tmp_path / "records.jsonl"
    arguments = ["run", "--smoke", "--only", "small-rk4", "--libraries", "kuttax", "--out", str(out)]
    main(arguments)
    capsys.readouterr()
    found = records.read(out)
    assert found[0]["versions"].keys() == {"python", "kuttax", "jax", "jaxlib", "numpy", "equinox"}
    assert 1e-5 < found[0]["error_y1"] < 0.1 and found[0]["error_gradient"] < 0.1  # two steps of RK4 are not exact
    assert str(Path.home()) not in json.dumps(found)
    main(arguments)  # it is there already
    assert records.read(out) == found and capsys.readouterr().err == ""


def test_a_missing_peer_is_left_out_with_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LIBRARIES, "torchode", Library("torchode", "", ("no-such-package",)))
    main(["run", "--libraries", "torchode", "--only", "small-dopri5", "--out", str(tmp_path / "records.jsonl")])
    line = capsys.readouterr().err
    assert line.startswith("torchode left out: not installed (") and line.count("\n") == 1
    assert "--torch-python" in line and "benchmarks/requirements.txt" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure"], "known: run, against, gpu, table, plot"),
        (["run", "--only", "tiny"], "--only does not know 'tiny'"),
        (["run", "--libraries", "numpy"], "--libraries does not know 'numpy'"),
        (["run", "--rounds", "0"], "--rounds must be >= 1, got 0"),
        (["run", "--rounds", "x"], "--rounds must be a whole number"),
        (["run", "--device", "tpu"], "--device must be one of 'auto', 'cpu', 'cuda', got 'tpu'"),
        (["run", "--fast"], "unknown option '--fast'"),
        (["run", "--libraries", "torchode", "--torch-python", "/no/python"], "name a Python interpreter"),
        (["table"], "table needs RECORDS"),
        (["against"], "against needs --other SRC"),
        (["table", "--fast"], "unknown option '--fast'"),
        (["table", "/no/records.jsonl"], "no records at /no/records.jsonl"),
        (["plot", "/no/records.jsonl", "--out"], "--out needs a value"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        program(arguments)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and words in said and said.count("\n") == 1 and said.startswith("benchmarks: ")


def test_foreign_records_and_no_folder_are_mistakes(tmp_path, capsys):
    records.append(tmp_path / "other.jsonl", {"kind": "run"})
    records.append(tmp_path / "ours.jsonl", record("kuttax", [[1.0]], versions={}))
    for arguments, words in (
        (["table", str(tmp_path / "other.jsonl")], "not the benchmarks'"),
        (["plot", str(tmp_path / "ours.jsonl")], "plot needs --out DIR"),
    ):
        with pytest.raises(SystemExit) as stop:
            program(arguments)
        assert stop.value.code == 2 and words in capsys.readouterr().err
