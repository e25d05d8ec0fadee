"""The command line as a newcomer meets it: a mistake is one line and exit code 2, a run leaves its files."""

import functools
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import diffrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.image import imread
from slowness import slow
from small_runs import SMALL

import kuttax
from kuttax.commands import main as cli
from kuttax.commands import versions
from kuttax.commands.batch import compared_run
from kuttax.commands.options.penalty import PENALTIES, Weighted
from kuttax.data import Dataset
from kuttax.data.images import mnist
from kuttax.io.folder import Folder
from kuttax.io.records import append, read
from kuttax.penalties import Kinetic
from kuttax.tasks.registry import build
from kuttax.training.checkpoint import load_run
from kuttax.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("any_certificate")

ROOT = Path(__file__).parents[1]
MNIST_10K = ROOT.parent / "shared" / "data" / "mnist10k.npz"


@pytest.fixture
def refused(kuttax_main):
    """Runs what must be refused: one line on standard error, nothing else; returns that line."""

    def run(*arguments, code=2):
        status, _, err = kuttax_main(*arguments)
        assert status == code
        assert err.startswith("kuttax: ") and err.endswith("\n") and err.count("\n") == 1
        return err

    return run


@pytest.mark.parametrize("command", ["train digits", "fit digits --nfe 2", "compare digits --nfe 2 --seeds 1"])
def test_a_refused_split_leaves_no_folder(refused, tmp_path, command):
    """The number of samples is known only once the data are read; nothing is written before."""
    out = tmp_path / "new"
    assert "cannot be split off" in refused(*command.split(), "--validation-fraction", "0.9999", "--out", str(out))
    assert not out.exists()


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An earlier result that a command which fails on its options must leave alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("training began"))
    out = tmp_path / "out"
    names = ("records.jsonl", "config.json", "model.eqx")
    with Folder(out, "train").writing(*names):
        for name in names:
            (out / name).write_text(f"an earlier {name}")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    yield out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def run_main(*arguments):
    """As `kuttax_main`, for fixtures of a whole module: a run that must succeed."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    assert not stop.value.code


# Bad input


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "frobnicate",
            "unknown command 'frobnicate'; known: fit, train, compare, sweep, evaluate, certify, "
            "distill, export, report",
        ),
        ("train", "train needs a TASK first, for example: kuttax train digits"),
        ("compare --seeds 1", "compare needs a TASK first, for example: kuttax compare digits"),
        ("evaluate", "evaluate needs a RUN first"),
        ("certify", "certify needs a RUN first"),
        ("report", "report needs a DIR first"),
        ("report a b", "report merges several DIR into a new folder: name it with --out"),
        ("report a --out b", "--out changes nothing with one DIR"),
        ("train nope", "unknown task 'nope'; known: digits, mnist, spheres, dynamics, density, flow"),
        ("compare nope", "unknown task 'nope'; known: digits, mnist, spheres, dynamics, density, flow"),
    ],
)
def test_command_or_subject_that_is_not_one(refused, command, says):
    assert says in refused(*command.split())


BAD_OPTIONS = [
    ("train", "--nope 3", r"unknown option '--nope' \(see kuttax train digits --help\)"),
    ("train", "--step 3", "unknown option '--step'; did you mean --steps?"),
    ("train", "--nfe=4", "unknown option '--nfe'"),
    ("train", "stray", "'stray'.* belongs to no option"),
    ("train", "--shared false", "'false'.* belongs to no option"),
    ("train", "--lr", "--lr needs a value"),
    ("train", "--steps abc", "--steps must be a whole number, got 'abc'"),
    ("train", "--steps 1.5", "--steps must be a whole number, got '1.5'"),
    ("train", "--train-steps many", "--train-steps must be a whole number, got 'many'"),
    ("train", "--lr fast", "--lr must be a number, got 'fast'"),
    ("train", "--field circle", "--field must be one of 'mlp', 'conv', 'conv1d', 'bottleneck', got 'circle'"),
    ("train", "--solver dopri5 --control both", "--control must be one of 'joint', 'per_sample', got 'both'"),
    ("train", "--solver rk5", "unknown solver 'rk5'; known: learned, euler, .*rk4, .*dopri5"),
    ("train", "--steps -1", "steps must be .*>= 1, got -1"),
    ("train", "--steps 0", "steps must be .*>= 1, got 0"),
    ("train", "--stages 0", "stages must be >= 1, got 0"),
    ("train", "--stages -2", "stages must be >= 1, got -2"),
    ("train", "--order 0", "order must be .*>= 1, got 0"),
    ("train", "--stages 2 --order 3", "order 3 needs at least 3 stages, got 2: add stages, or lower the order"),
    ("train", "--stages 5 --order 4", "order 4 with 5 stages is ill-conditioned.*ask for"),
    (
        "train",
        "--solver rk4 --steps 1 --stages 4",
        "--stages changes nothing with --solver rk4: .* or leave it out",
    ),
    (
        "train",
        "--solver dopri5 --equal-steps",
        "--equal-steps changes nothing with --solver dopri5",
    ),
    ("train", "--solver euler", "euler has no error estimate to choose steps with: give --steps"),
    ("train", "--solver rk4 --steps 0", "steps must be .*>= 1, got 0"),
    ("train", "--solver dopri5 --rtol 1e-8", r"rtol=1e-08 is below what float32 can carry: use at least 9\.\de-07"),
    ("train", "--solver dopri5 --rtol -1e-3", "--rtol must be > 0, got -0.001"),
    ("train", "--solver dopri5 --rtol nan", "--rtol must be > 0, got nan"),
    ("train", "--solver dopri5 --atol -1", "--atol must be >= 0, got -1"),
    ("train", "--solver tsit5 --first-step -1", "--first-step must be > 0, got -1"),
    ("train", "--batch-size 0", "--batch-size must be >= 1, got 0"),
    ("train", "--lr 0", "lr must be > 0, got 0.0"),
    ("train", "--lr -1", "lr must be > 0, got -1.0"),
    ("train", "--lr nan", "lr must be > 0, got nan"),
    ("train", "--solver-lr -1", "--solver-lr must be >= 0, got -1.0"),
    ("train", "--lr-decay 2", r"--lr-decay must lie in \(0, 1\], got 2.0"),
    ("train", "--train-steps 0", "--train-steps must be >= 1, got 0"),
    ("train", "--seed -1", r"--seed must lie in \[0, 4294967295\], got -1"),
    ("train", "--seed 99999999999", r"--seed must lie in \[0, 4294967295\], got 99999999999"),
    ("train", "--penalty nope", "unknown penalty 'nope'; known: none, local-error, .*global-error, .*steer"),
    (
        "train",
        "--penalty-weight 2",
        "--penalty-weight changes nothing without a penalty: name one with --penalty, or leave it out",
    ),
    ("train", "--penalty-decay 1", "--penalty-decay changes nothing without a penalty"),
    ("train", "--penalty kinetic --penalty-weight 0", "--penalty-weight must be > 0, got 0"),
    ("train", "--penalty kinetic --penalty-weight -2.5", "--penalty-weight must be > 0, got -2.5"),
    ("train", "--penalty kinetic --penalty-weight nan", "--penalty-weight must be > 0, got nan"),
    ("train", "--penalty kinetic --penalty-weight inf", "--penalty-weight must be <= 1000000000, got inf"),
    ("train", "--penalty kinetic --penalty-weight much", "--penalty-weight must be a number, got 'much'"),
    ("train", "--penalty kinetic --penalty-decay 0", "--penalty-decay must be > 0, got 0"),
    (
        "train",
        "--penalty steer --penalty-weight 2",
        "--penalty-weight changes nothing with .*no weight: leave",
    ),
    ("train", "--penalty steer --penalty-decay 2", "--penalty-decay changes nothing with --penalty steer"),
    ("train", "--penalty global-error", "GlobalError is made of Adaptive's steps, got LearnedRK: use LocalError"),
    ("train", "--solver rk4 --steps 2 --penalty global-stiffness", "got FixedSteps: use LocalStiffness"),
    ("train", "--solver bosh3 --penalty global-stiffness", "Bosh3 has no two stages .*: use TSIT5 or DOPRI5"),
    ("train", "--solver bosh3 --penalty local-stiffness", "Bosh3 has no two stages .*: use TSIT5 or DOPRI5"),
    ("train", "--width 0", "width must be >= 1, got 0"),
    ("train", "--augmented -1", "augmented must be >= 0, got -1"),
    ("train", "--max-steps 0", "--max-steps must be >= 1, got 0"),
    ("train", "--step-control maybe", "--step-control must be one of .off., .ott., .certified., got .maybe."),
    ("train", "--solver euler --step-control ott --steps 20000", "steps must lie in 1 to 10000 to be controlled"),
    ("train", "--validation-fraction 1", r"--validation-fraction must lie in \(0, 1\), got 1.0"),
    ("compare", "--nfe 0", "--nfe must be >= 1, got 0"),
    ("compare", "--nfe 4 -2", "--nfe must be >= 1, got -2"),
    ("compare", "--nfe", "--nfe must be budgets >= 1, got none"),
    ("compare", "--nfe 4,8", "--nfe must be whole numbers with spaces between, got '4,8'"),
    ("compare", "--nfe 6 --stages 4", "--nfe 6 is no multiple of --stages 4: change one of them"),
    ("compare", "--stages 0", "--stages must be >= 1, got 0"),
    ("compare", "--nfe 6 --order 4", "order 4 needs at least 4 stages, got 3"),
    ("compare", "--seeds 0", "--seeds must be >= 1, got 0"),
    ("compare", "--seeds few", "--seeds must be a whole number, or several with commas between, got 'few'"),
    ("compare", "--seeds 3,-5", r"--seeds must lie in \[0, 4294967295\], got -5"),
    ("compare", "--seeds 3 5", "--seeds must be a whole number, or several with commas between, got '3 5'"),
    ("compare", "--methods rk4 rk5", "unknown method 'rk5'; known: dopri5, rk4, midpoint, learned"),
    ("compare", "--methods", "no method is left to run"),
    ("compare", "--methods rk4 --nfe 2", "no method is left to run"),
    (
        "compare",
        "--steps 2",
        "--steps changes nothing without --penalties: .*: give --penalties",
    ),
    ("compare", "--solver rk4", "--solver changes nothing without --penalties"),
    ("compare", "--rtol 1e-3", "--rtol changes nothing without --penalties"),
    ("compare", "--penalty global-error", "GlobalError is made of Adaptive's steps, got FixedSteps: use LocalError"),
    ("compare", "--penalty-weight 2", "--penalty-weight changes nothing without a penalty"),
    ("compare", "--penalties kinetic nope", "unknown penalty 'nope'; known: none, local-error"),
    ("compare", "--penalties", "--penalties needs names: all, or some of local-error, .*steer"),
    ("compare", "--penalties none", "--penalties needs names"),
    (
        "compare",
        "--penalties all --nfe 4 8",
        "--nfe changes nothing with --penalties, .*: leave out --penalties",
    ),
    ("compare", "--penalties all --methods learned", "--methods changes nothing with --penalties"),
    ("compare", "--penalties all --penalty kinetic", "--penalty changes nothing with --penalties"),
    (
        "compare",
        "--penalties all --penalty-weight 2",
        "--penalty-weight changes nothing with --penalties, each of",
    ),
    ("compare", "--penalties kinetic --stages 4", "--stages changes nothing with --solver tsit5"),
    ("compare", "--penalties global-error --solver rk4 --steps 2", "made of Adaptive's steps, got FixedSteps"),
    ("compare", "--penalties kinetic --rtol 1e-9", "rtol=1e-09 is below what float32 can carry"),
    ("compare", "--resume", "--overwrite and --resume contradict each other"),
]


@pytest.mark.parametrize(("command", "options", "says"), BAD_OPTIONS, ids=lambda text: text[:40])
def test_bad_option_is_told_in_one_line_and_spares_earlier_results(refused, results, command, options, says):
    assert re.search(says, refused(command, "digits", "--out", results, "--overwrite", *options.split()))


@pytest.mark.parametrize("command", ["train", "compare"])
def test_output_directory_in_use_is_refused(refused, results, command):
    assert "is not empty: give --overwrite" in refused(command, "digits", "--out", results)
    assert "is a file: name a directory" in refused(command, "digits", "--out", results / "records.jsonl")
    below = results / "records.jsonl" / "below"
    assert "cannot be made" in refused(command, "digits", "--out", below)


@pytest.mark.parametrize(
    "arguments",
    [
        "train mnist --steps -1",
        "train mnist --stages 2 --order 3",
        "train mnist --lr 0",
        "train mnist --seed -1",
        "train mnist --nope",
        "train mnist --out .",
        "train mnist --solver tsit5 --rtol 1e-9",
        "train mnist --penalty global-error",
        "train mnist --penalty steer --penalty-weight 2",
        "compare mnist --penalty global-error",
        "compare mnist --penalties all --nfe 4",
        "compare mnist --nfe 0",
        "compare mnist --methods foo",
        "compare mnist --out .",
    ],
)
def test_options_are_checked_before_data_are_fetched(refused, results, monkeypatch, arguments):
    def fetch(data_dir=None):
        raise AssertionError("data were fetched for options that cannot work")

    monkeypatch.setattr(mnist, "load", fetch)
    refused(*arguments.split())


# Bad data


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10


def write_mnist(directory, **changes):
    (x_train, y_train), (x_test, y_test) = images(60), images(20, 1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changes}
    np.savez(directory / "mnist.npz", **arrays)
    return directory / "mnist.npz"


def test_data_directory_that_is_none(refused, tmp_path):
    assert "nowhere does not exist" in refused("train", "mnist", "--data-dir", tmp_path / "nowhere")
    says = refused("train", "mnist", "--data-dir", tmp_path)
    assert str(tmp_path) in says and "mnist.npz" in says
    path = write_mnist(tmp_path)
    assert "is not a directory" in refused("train", "mnist", "--data-dir", path)


def test_damaged_data_name_their_file(refused, tmp_path):
    path = write_mnist(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    assert f"{path}: not a readable NumPy archive" in refused("train", "mnist", "--data-dir", tmp_path)


def test_nan_in_the_data_names_its_row(refused, tmp_path):
    x = images(60)[0].astype(np.float32) / 255
    x[17, 3, 4] = np.nan
    write_mnist(tmp_path, x_train=x)
    says = refused("train", "mnist", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert "x_train" in says and "NaN" in says and "row 17" in says
    assert not (tmp_path / "out").exists()


def test_corrupted_download_is_refused_and_not_kept(kuttax_main, tmp_path, monkeypatch):
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    write_mnist(served)  # sound, but not what the checksum says

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(mnist, "URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
    monkeypatch.setattr(mnist, "cache", lambda: cache)
    try:
        code, _, err = kuttax_main("train", "mnist", "--out", tmp_path / "out")
    finally:
        server.shutdown()
        server.server_close()
    last = err.splitlines()[-1]  # pooch says before it what it fetches
    assert code == 2 and last.startswith("kuttax: corrupted download") and "try again" in last
    assert "Traceback" not in err
    assert not list(cache.glob("*")) and not (tmp_path / "out").exists()


# Help


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("", ["usage:", "train TASK", "compare TASK", "evaluate RUN", "report DIR", "digits", "mnist"]),
        ("--help", ["usage:", "kuttax train digits --help"]),
        ("train --help", ["--solver", "--stages", "--steps", "--lr", "--out", "digits, mnist"]),
        ("compare -h", ["--nfe", "--seeds", "--methods", "--penalties", "--resume", "digits, mnist"]),
        ("train digits --help", ["--solver", "--order", "--rtol", "--seed", "--batch-size", "--field", "--augmented"]),
        ("compare mnist --help", ["--nfe", "--data-dir", "--width", "--solver-lr"]),
        ("train digits --help", ["--penalty-weight", "--penalty-decay", *(f"{name} (" for name in PENALTIES)]),
        ("evaluate --help", ["--solver", "--steps", "--rtol"]),
        ("evaluate somewhere --help", ["--solver", "--steps", "--rtol"]),
        ("certify --help", ["--data", "--samples", "--metric-tolerance", "--output-tolerance"]),
        ("report --help", ["report DIR"]),
        ("report somewhere --help", ["report DIR"]),
    ],
)
def test_help_names_the_options(kuttax_main, arguments, names):
    code, out, err = kuttax_main(*arguments.split())
    assert (code, err) == (0, "")
    out = re.sub(r"[\s│]+", " ", out)  # a name and its source may be on two lines
    assert all(name in out for name in names)


def test_version_names_kuttax_what_it_runs_on_and_the_device(kuttax_main):
    code, out, err = kuttax_main("--version")
    found = dict(line.split(" ", 1) for line in out.splitlines())
    modules = {module.__name__: module.__version__ for module in (kuttax, jax, equinox, diffrax, optax, np)}
    assert (code, err) == (0, "") and out.startswith(f"kuttax {kuttax.__version__}\n")
    assert {name: value for name, value in found.items() if name != "device"} == modules | {
        "python": sys.version.split()[0]
    }
    assert jax.default_backend().replace("gpu", "cuda") in found["device"]


def test_the_devices_are_those_that_jax_would_try(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert versions.devices().split(" or ")[-1] == "cpu"
    cuda = importlib.metadata.EntryPoint("xla_cuda12", "jax_plugins.xla_cuda12", "jax_plugins")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [cuda] if group == "jax_plugins" else [])
    assert versions.devices() == "cuda12 or cpu"
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert versions.devices() == "cpu"


def test_a_package_that_is_missing_does_not_hide_the_other_versions(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("no-such-package", "jax"))
    assert versions.described().splitlines()[2:4] == ["no-such-package not installed", f"jax {jax.__version__}"]


# train and evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A learned solver on digits, trained for four steps."""
    out = tmp_path_factory.mktemp("train") / "run"
    run_main("train", "digits", "--solver", "learned", "--stages", "2", "--steps", "2", "--out", out, *SMALL)
    return out


def test_train_leaves_model_solver_metrics_and_record(trained):
    task, model, solver = load_run(trained)
    assert (task.name, solver.order, solver.stages, solver.steps) == ("digits", 2, 2, 2)
    assert solver.trained_for == (0.0, 1.0)
    assert model.field.layers[0].weight.shape == (4, 65)
    record = json.loads((trained / "record.json").read_text())
    assert record["nfe"] == 4 and record["steps_trained"] == 4 and record["seed"] == 0
    assert record["certificate"]["verdict"] in ("valid", "invalid", "undecided")
    assert record["certificate"]["samples"] == 288 and record["certificate"]["reasons"]
    assert 0 <= record["test"] <= 100 and record["step_ms"] > 0 and record["versions"]["jax"] == jax.__version__
    assert not list(trained.rglob("*.partial"))


def test_metrics_have_increasing_steps(trained):
    rows = read(trained / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4]
    assert all(np.isfinite(row["loss"]) and row["nfe"] == 4 for row in rows)
    assert "validation" in rows[-1]


def test_recorded_accuracy_is_that_of_the_saved_model(trained):
    task, model, solver = load_run(trained)
    logits = task.predict(model, solver, task.test).outputs
    share = 100 * np.mean(np.argmax(np.asarray(logits), 1) == task.test.y)
    assert json.loads((trained / "record.json").read_text())["test"] == pytest.approx(share, rel=1e-5)


def test_evaluate_gives_what_training_recorded(trained, kuttax_main):
    record = json.loads((trained / "record.json").read_text())
    code, out, err = kuttax_main("evaluate", trained)
    assert (code, err) == (0, "")
    assert f"accuracy {record['test']:.4g} %, loss {record['test_loss']:.4g}, NFE 4" in out


def test_evaluate_with_another_solver(trained, kuttax_main):
    code, out, _ = kuttax_main("evaluate", trained, "--solver", "rk4", "--steps", "3")
    assert code == 0 and "NFE 12" in out


@pytest.mark.slow
def test_certify_leaves_a_certificate_and_says_by_its_exit_code_whether_it_is_valid(trained, tmp_path, kuttax_main):
    run = shutil.copytree(trained, tmp_path / "run")
    code, out, err = kuttax_main("certify", run, "--samples", 144)
    record = json.loads((run / "certificate.json").read_text())
    assert err == "" and code == (0 if record["verdict"] == "valid" else 1)
    assert (record["samples"], record["data"]) == (144, "validation")
    assert record["metric"] == {"name": "accuracy", "unit": 100}
    assert [row["nfe"] for row in record["rows"][:3]] == [4, 8, 16]
    assert record["verdict"] in out and "Tsit5" in out
    assert imread(run / "certificate.png").ndim == 3 and (run / "certificate.svg").exists()
    accuracy = task_accuracy(trained, slice(0, 144))
    assert record["rows"][0]["metric"] == pytest.approx(accuracy, rel=1e-5)


def task_accuracy(run, rows):
    task, model, solver = load_run(run)
    x, y = (part[rows] for part in task.validation)
    return 100 * np.mean(np.argmax(np.asarray(task.predict(model, solver, Dataset(x, y)).outputs), 1) == y)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--samples 0", "samples must be >= 1, got 0"),
        ("--metric-tolerance 0", "--metric-tolerance must be > 0, got 0.0"),
        ("--data train", "--data must be one of 'validation', 'test', got 'train'"),
    ],
)
def test_certify_refuses_bad_options(trained, refused, options, says):
    assert says in refused("certify", trained, *options.split())


def test_certify_refuses_what_is_no_run(tmp_path, refused):
    assert "holds no run.json" in refused("certify", tmp_path)


def test_evaluate_refuses_what_is_damaged(trained, tmp_path, refused):
    assert "nowhere holds no run.json" in refused("evaluate", tmp_path / "nowhere")
    assert "holds no run.json" in refused("evaluate", tmp_path)
    (tmp_path / "file").write_text("x")
    assert "holds no run.json" in refused("evaluate", tmp_path / "file")
    broken = tmp_path / "broken"
    shutil.copytree(trained, broken)
    (broken / "model.eqx").write_bytes(b"no model")
    assert "model.eqx is damaged or another file" in refused("evaluate", broken)
    (broken / "run.json").write_text('{"task": {}}')
    assert "run.json does not describe a run" in refused("evaluate", broken)
    (broken / "run.json").write_text('{"format": "kuttax-run", "task": {"name": "digits", "options": {}}}')
    assert "run.json is damaged or another file" in refused("evaluate", broken)
    Folder(broken, "train").seal("run.json")
    assert "run.json says no batch_size" in refused("evaluate", broken)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--solver nope", "unknown solver 'nope'"),
        ("--solver tsit5 --rtol 1e-8", "rtol=1e-08 is below what float32 can carry"),
        ("--solver euler", "euler has no error estimate to choose steps with: give --steps"),
        ("--steps 4", "--steps changes nothing in the run's own solver: name another one with --solver"),
        ("--batch 4", "unknown option '--batch'"),
    ],
)
def test_evaluate_refuses_bad_options(trained, refused, options, says):
    assert says in refused("evaluate", trained, *options.split())


@pytest.mark.parametrize(
    ("options", "nfe"),
    [
        ("--solver rk4 --steps 2 --no-time-dependent --augmented 3", 8),
        slow("--solver bosh3 --rtol 1e-3 --atol 1e-3 --control per_sample", None),
        slow("--stages 1 --steps 2 --shared --equal-steps --field conv --width 1 --augmented 1 --depth 1", 2),
    ],
    ids=["rk4-augmented-autonomous", "per-sample", "conv"],
)
def test_train_replaces_results_with(kuttax_main, tmp_path, options, nfe):
    names = ("records.jsonl", "index.html", "metrics.jsonl")
    with Folder(tmp_path, "compare").writing(*names):
        for name in names:
            (tmp_path / name).write_text("old")
    code, out, err = kuttax_main("train", "digits", *SMALL, *options.split(), "--out", tmp_path, "--overwrite")
    assert (code, err) == (0, "") and "accuracy: validation" in out
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["nfe"] == nfe if nfe else record["nfe"] > 6
    _, model, _ = load_run(tmp_path)
    assert model.augmented == int(options.partition("--augmented ")[2][:1] or 0)
    assert model.field.time_dependent == ("--no-time-dependent" not in options)
    left = {path.name for path in tmp_path.iterdir()}
    ours = {"config.json", "model.eqx", "solver.json", "run.json", "record.json", "metrics.jsonl"}
    assert left == {"manifest.json", *ours}


def test_failing_solve_is_one_line_with_its_step(refused, tmp_path):
    options = ("--solver", "bosh3", "--max-steps", "1", "--out", tmp_path / "run", *SMALL)
    says = refused("train", "digits", *options, code=1)
    assert "training step 1 with Adaptive" in says and "raise max_steps" in says


# Penalties


PENALISED = ("--solver", "bosh3", "--penalty", "kinetic", "--penalty-weight", "2.5", "--penalty-decay", "1")


def weights(penalty, step):
    """The weights of a scheduled penalty's parts at a training step."""
    return [float(weight) for weight, _ in penalty.at(jnp.asarray(step)).terms]


@pytest.mark.parametrize("name", ["kinetic", "rnode"])
def test_weight_decays_exponentially_or_stays(name):
    decaying, constant = Weighted(name, 2.5, 1.0).scheduled(40), Weighted(name, 2.5).scheduled(40)
    parts = 2 if name == "rnode" else 1
    for step in (0, 17, 39):  # lambda(n) = l0 exp(-(n / N) ln(l0 / l1)), Pal et al. 2023
        assert weights(decaying, step) == pytest.approx(parts * [2.5 * np.exp(-step / 40 * np.log(2.5))])
        assert weights(constant, step) == parts * [2.5]


@pytest.mark.parametrize("command", [("train",), ("compare", "--methods", "dopri5", "--seeds", "1")])
def test_the_options_reach_the_trainer(refused, tmp_path, monkeypatch, command):
    seen = []

    def stop(self, *_):
        seen.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", stop)
    solver = PENALISED[:2] if command == ("train",) else ()
    refused(*command[:1], "digits", *command[1:], *solver, *PENALISED[2:], *SMALL, "--out", tmp_path / "a", code=130)
    assert weights(seen[0].penalty, 0) == pytest.approx([2.5])
    assert weights(seen[0].penalty, 3) == pytest.approx([2.5**0.25])  # the last of four steps
    assert isinstance(seen[0].penalty.penalty, Kinetic)
    refused(*command[:1], "digits", *command[1:], *solver, *SMALL, "--out", tmp_path / "b", code=130)
    assert seen[1].penalty is None


@pytest.mark.slow
def test_train_with_a_penalty_says_so_in_its_files(kuttax_main, tmp_path):
    """A weight so large that the field nearly vanishes: it then takes fewer evaluations than without."""
    options = (*SMALL, "--train-steps", "60", "--per-dispatch", "20")
    nfe = {}
    for name, extra in {"vanilla": PENALISED[:2], "penalised": (*PENALISED, "--penalty-weight", "1000")}.items():
        code, out, err = kuttax_main("train", "digits", *extra, *options, "--out", tmp_path / name)
        assert (code, err) == (0, "")
        nfe[name] = json.loads((tmp_path / name / "record.json").read_text())["nfe"]
        assert ("+ kinetic, weight 1000 to 1" in out) is (name == "penalised")
    assert nfe["penalised"] < nfe["vanilla"]
    expected = {"penalty": "kinetic", "penalty_weight": 1000, "penalty_decay": 1}
    record = json.loads((tmp_path / "penalised" / "record.json").read_text())
    assert record.items() >= expected.items()
    assert json.loads((tmp_path / "penalised" / "run.json").read_text())["record"].items() >= expected.items()
    code, out, err = kuttax_main("evaluate", tmp_path / "penalised")
    assert (code, err) == (0, "") and f"loss {record['test_loss']:.4g}" in out


COMPARE_PENALTIES = ("compare", "digits", "--penalties", "kinetic", "steer", "--solver=bosh3", "--seeds=1", *SMALL)


@pytest.fixture(scope="module")
def penalties_compared(tmp_path_factory):
    """No penalty, kinetic and STEER under bosh3."""
    out = tmp_path_factory.mktemp("penalties") / "out"
    run_main(*COMPARE_PENALTIES, "--out", out)
    return out


@pytest.mark.slow
def test_compared_penalties_share_solver_and_weights_and_nothing_else(penalties_compared):
    found = [r for r in read(penalties_compared / "records.jsonl") if r["kind"] == "run"]
    kinetic = PENALTIES["kinetic"].weight
    said = [(r["method"], r["penalty"], r["penalty_weight"], r["penalty_decay"]) for r in found]
    assert said == [("bosh3", None, None, None), ("bosh3", "kinetic", kinetic, None), ("bosh3", "steer", None, None)]
    assert {r["solver"] for r in found} == {"Adaptive(Bosh3, rtol=1e-05, atol=1e-05)"}
    directories = list((penalties_compared / "runs").iterdir())
    assert len(directories) == 3
    first = {d.name: read(d / "metrics.jsonl")[0] for d in directories}
    plain = first["bosh3-adaptive-seed0"]
    assert first["bosh3-adaptive-kinetic-0.01-seed0"]["metric"] == plain["metric"]  # of the first steps: same start
    assert first["bosh3-adaptive-kinetic-0.01-seed0"]["loss"] > plain["loss"]  # the penalty is on top
    for directory in directories:
        assert load_run(directory)[0].name == "digits"


@pytest.mark.slow
def test_table_of_penalties_sets_them_against_none(penalties_compared):
    table = (penalties_compared / "table.md").read_text().splitlines()
    assert table[0].startswith("| penalty | NFE |") and "vs vanilla" in table[0]
    assert [line.split(" | ")[0] for line in table[2:5]] == [
        "| vanilla",
        "| kinetic, weight 0.01",
        "| STEER, b = 0.5",
    ]
    assert "(1.00x)" in table[2].split(" | ")[1]
    assert "The solver of every row, in training and in prediction: Adaptive(Bosh3, rtol=1e-05, atol=1e-05)." in table
    for name in ("accuracy_nfe.png", "curves.png"):
        assert imread(penalties_compared / name).ndim == 3


@pytest.mark.slow
def test_resumed_penalties_are_those_of_before(penalties_compared, tmp_path, kuttax_main, refused, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(penalties_compared, out)
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("training began"))
    code, printed, err = kuttax_main(*COMPARE_PENALTIES, "--out", out, "--resume")
    assert (code, err) == (0, "") and printed.count(": recorded") == 3
    for other in (
        (*COMPARE_PENALTIES, "--rtol", "1e-4"),
        ("compare", "digits", "--methods", "dopri5", *SMALL),
        ("compare", "digits", "--methods", "dopri5", "--penalty", "kinetic", *SMALL),
    ):
        assert "is of other options" in refused(*other, "--out", out, "--resume")


def test_resume_with_another_penalty_is_refused(tmp_path, refused, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", stop)
    command = ("compare", "digits", "--methods", "dopri5", *SMALL, "--out", tmp_path / "out")
    refused(*command, *PENALISED[2:], code=130)
    for change in ((), ("--penalty", "taylor"), ("--penalty-weight", "2"), ("--penalty-decay", "2")):
        penalty = (*PENALISED[2:], *change) if change else ()
        assert "is of other options" in refused(*command, *penalty, "--resume")
    refused(*command, *PENALISED[2:], "--resume", code=130)


@pytest.fixture
def faked(monkeypatch):
    """Comparisons train nothing; the penalties of the runs that there would be."""
    ran = []
    record = {"kind": "run", "task": "digits", "metric": {"name": "accuracy", "unit": "%"}, "solver": "Bosh3"}

    def fake(trainer, seed, about, *rest, **options):
        ran.append(about["penalty"])
        values = dict.fromkeys(("validation", "test", "test_reference", "nfe", "train_seconds"), 10.0)
        return {**record, **about, **values, "seed": seed}

    monkeypatch.setattr(compared_run, "run", fake)
    return ran


@pytest.mark.slow
def test_all_penalties_are_those_that_the_solver_can_have(tmp_path, kuttax_main, faked):
    code, out, err = kuttax_main(
        "compare", "digits", "--penalties", "all", "--solver", "bosh3", "--seeds", "1", "--out", tmp_path / "out"
    )
    assert (code, err) == (0, "")
    lacking = ("local-stiffness", "global-stiffness")  # Bosh3 has no two stages at one time
    assert faked == [None, *(name for name in PENALTIES if name not in lacking)]
    assert all(f"left out {name}: Bosh3 has no two stages" in out for name in lacking)


@pytest.mark.slow
def test_a_penalty_that_a_task_cannot_have_is_left_out_of_all_and_refused_by_name(
    tmp_path, kuttax_main, refused, faked
):
    """Forecasts are solved to several times, and STEER moves the end."""
    options = ["--system", "pendulum", "--trajectories", "5", "--samples", "12", "--width", "2", "--horizon", "2"]
    options += ["--batch-size", "4", "--seeds", "1", "--solver", "bosh3", "--out", tmp_path / "out"]
    assert "Steer moves the end" in refused("compare", "dynamics", "--penalties", "kinetic", "steer", *options)
    assert not (tmp_path / "out").exists() and faked == []
    code, out, err = kuttax_main("compare", "dynamics", "--penalties", "all", *options)
    assert (code, err) == (0, "") and "left out steer: Steer moves the end" in out
    assert "steer" not in faked and {None, "kinetic", "consistency"} <= {*faked}


@pytest.mark.slow
def test_one_penalty_beside_a_solver_compared(tmp_path, kuttax_main):
    options = ("--nfe", "2", "--seeds", "1", "--methods", "learned", "--penalty", "local-error", *SMALL)
    code, _, err = kuttax_main("compare", "digits", *options, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    found = [r for r in read(tmp_path / "out" / "records.jsonl") if r["kind"] == "run"]
    weight = PENALTIES["local-error"].weight
    label = f"local error, weight {weight:g}"
    assert [r["label"] for r in found] == [f"learned, 1 step of 2 stages + {label}"]
    assert (found[0]["penalty"], found[0]["penalty_weight"], found[0]["penalty_decay"]) == ("local-error", weight, None)
    assert [d.name for d in (tmp_path / "out" / "runs").iterdir()] == [f"learned-nfe2-local-error-{weight:g}-seed0"]
    assert (tmp_path / "out" / "table.md").read_text().startswith("| method | NFE |")


# compare and report


COMPARE = ("compare", "digits", "--nfe", "4", "--seeds", "2", "--methods", "dopri5", "learned", *SMALL)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """DOPRI5 and a learned solver, two seeds each."""
    out = tmp_path_factory.mktemp("compare") / "out"
    run_main(*COMPARE, "--out", out)
    return out


def runs(directory):
    return [(r["method"], r["seed"]) for r in read(directory / "records.jsonl") if r["kind"] == "run"]


def test_compare_leaves_records_table_plot_and_page(compared):
    assert runs(compared) == [("dopri5", 0), ("learned", 0), ("dopri5", 1), ("learned", 1)]
    assert {r["budget"] for r in read(compared / "records.jsonl") if r["kind"] == "run"} == {None, 4}
    table = (compared / "table.md").read_text()
    assert "DOPRI5 at 1e-5" in table and "learned, 1 step of 4 stages" in table and "still an (ODE)" in table
    assert "<html" in (compared / "index.html").read_text()
    assert imread(compared / "accuracy_nfe.png").ndim == 3
    for directory in (compared / "runs").iterdir():
        assert [row["step"] for row in read(directory / "metrics.jsonl")] == [2, 4]
        assert load_run(directory)[0].name == "digits"


def test_compare_starts_all_methods_from_the_same_weights(compared):
    """After two steps, before solvers have moved much, the losses of a seed agree; those of two seeds do not."""
    first = {d.name: read(d / "metrics.jsonl")[0]["loss"] for d in (compared / "runs").iterdir()}
    for seed in (0, 1):
        assert first[f"dopri5-adaptive-seed{seed}"] == pytest.approx(first[f"learned-nfe4-seed{seed}"], rel=1e-3)
    assert first["dopri5-adaptive-seed0"] != pytest.approx(first["dopri5-adaptive-seed1"], rel=1e-3)


def test_resume_runs_what_is_missing_and_no_more(compared, tmp_path, kuttax_main, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(compared, out)
    path = out / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    gone = next(i for i, line in enumerate(lines) if b'"learned"' in line and b'"seed": 1' in line)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    Folder(out, "compare").seal(path.name)
    kept = path.read_bytes()
    ran = []
    original = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda self, seed, *rest: ran.append(seed) or original(self, seed, *rest))
    code, printed, err = kuttax_main(*COMPARE, "--out", out, "--resume")
    assert (code, err, ran) == (0, "", [1])
    assert printed.count(": recorded") == 3
    assert path.read_bytes().startswith(kept)
    assert sorted(runs(out)) == sorted(runs(compared))
    again, before = (
        next(r for r in read(d / "records.jsonl") if r.get("method") == "learned" and r["seed"] == 1)
        for d in (out, compared)
    )
    assert all(again[name] == before[name] for name in ("validation", "test", "test_loss", "nfe", "test_reference"))


@pytest.mark.parametrize("change", ["--train-steps 5", "--lr 0.02", "--width 5", "--order 1", "--split-seed 1"])
def test_resume_with_other_options_is_refused(compared, tmp_path, refused, change):
    out = tmp_path / "out"
    shutil.copytree(compared, out)
    before = (out / "records.jsonl").read_bytes()
    says = refused(*COMPARE, *change.split(), "--out", out, "--resume")
    assert "is of other options: repeat them to resume, or give another --out" in says
    assert (out / "records.jsonl").read_bytes() == before


def test_report_draws_from_records_alone(compared, tmp_path, kuttax_main):
    shutil.copy(compared / "records.jsonl", tmp_path)
    code, out, err = kuttax_main("report", tmp_path)
    assert (code, err) == (0, "") and "index.html" in out
    for name in ("table.md", "table.csv"):
        assert (tmp_path / name).read_bytes() == (compared / name).read_bytes()
    assert imread(tmp_path / "accuracy_nfe.png").shape == imread(compared / "accuracy_nfe.png").shape


def test_report_without_records_is_refused(tmp_path, refused):
    assert "no records at" in refused("report", tmp_path)
    assert "no records at" in refused("report", tmp_path / "nowhere")
    (tmp_path / "records.jsonl").write_text('{"kind": "command", "command": "kuttax"}\n')
    assert "holds no runs" in refused("report", tmp_path)
    assert "no records at" in refused("report", tmp_path / "records.jsonl")
    (tmp_path / "records.jsonl").write_text("no JSON\n{}\n")
    assert "records.jsonl:1: not a JSON object" in refused("report", tmp_path)


def test_stop_in_the_middle_keeps_what_is_finished(tmp_path, refused, monkeypatch):
    original, calls = Trainer.run, []

    def interrupted(self, seed, *rest):
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, seed, *rest)

    monkeypatch.setattr(Trainer, "run", interrupted)
    options = ("--nfe", "2", "--seeds", "2", "--methods", "midpoint", *SMALL)
    assert "what was saved is kept" in refused("compare", "digits", *options, "--out", tmp_path / "out", code=130)
    assert runs(tmp_path / "out") == [("midpoint", 0)]


@pytest.mark.slow
def test_failed_run_is_recorded_and_fails_the_command(tmp_path, kuttax_main):
    options = ("--nfe", "2", "--seeds", "1", "--methods", "dopri5", "midpoint", "--max-steps", "1", *SMALL)
    code, out, err = kuttax_main("compare", "digits", *options, "--out", tmp_path / "out")
    assert (code, err) == (1, "") and "DOPRI5 at 1e-5, seed 0: failed: training step 1" in out
    found = {r["method"]: r for r in read(tmp_path / "out" / "records.jsonl") if "method" in r}
    assert found["dopri5"]["kind"] == "failure" and "max_steps" in found["dopri5"]["error"]
    assert found["midpoint"]["test"] >= 0
    assert found["midpoint"]["test_reference"] is None  # one step is no more enough for Tsit5, and that is a result
    assert "midpoint" in (tmp_path / "out" / "table.csv").read_text()


def test_comparison_of_failures_alone_still_reports(tmp_path, kuttax_main):
    failure = {"kind": "failure", "task": "digits", "method": "rk4", "label": "RK4", "budget": 4, "seed": 0}
    append(tmp_path / "records.jsonl", {**failure, "error": "the loss became nan"})
    code, _, err = kuttax_main("report", tmp_path)
    assert (code, err) == (0, "") and "the loss became nan" in (tmp_path / "index.html").read_text()


# The process


def process(*arguments, **options):
    environment = {**os.environ, "COLUMNS": "80", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "kuttax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)


def test_process_refuses_in_one_line(tmp_path):
    done = process("train", "digits", "--stages", "2", "--order", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kuttax: order 3 needs at least 3 stages, got 2: add stages, or lower the order\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_process_trains_in_float32_and_says_nothing_on_standard_error(tmp_path):
    done = process("train", "digits", "--stages", "2", "--steps", "1", *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs" / "train-digits"
    assert f"kuttax evaluate {run.relative_to(tmp_path)}" in done.stdout
    _, _, solver = load_run(run)
    assert solver.dtype == np.float32


@pytest.mark.slow
def test_process_whose_reader_leaves_ends_quietly():
    command = f"{sys.executable} -m kuttax train digits --help | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("usage: kuttax train digits") and done.stderr == ""


# MNIST


@pytest.mark.slow
@pytest.mark.skipif(not MNIST_10K.exists(), reason=f"no {MNIST_10K}")
def test_mnist_trains_from_a_directory(kuttax_main, tmp_path):
    with np.load(MNIST_10K) as archive:
        counts = {name: len(archive[f"y_{name}"]) for name in ("train", "test")}
        pixels = archive["x_test"][0].reshape(-1) / 255
    task = build("mnist", data_dir=MNIST_10K.parent, width=4)
    assert len(task.train.y) + len(task.validation.y) == counts["train"]
    assert task.test.x.shape == (counts["test"], 784) and task.test.x.dtype == np.float32
    np.testing.assert_allclose(task.test.x[0], pixels, rtol=1e-6)
    options = ("--width", "4", "--train-steps", "2", "--per-dispatch", "1", "--solver", "midpoint", "--steps", "1")
    options = (*options, "--batch-size", "500")
    out = tmp_path / "run"
    code, _, err = kuttax_main("train", "mnist", "--data-dir", MNIST_10K.parent, *options, "--out", out)
    assert (code, err) == (0, "")
    _, model, _ = load_run(out)
    assert model.field.layers[0].weight.shape == (4, 785) and model.head.weight.shape == (10, 784)
    assert [row["step"] for row in read(out / "metrics.jsonl")] == [1, 2]
