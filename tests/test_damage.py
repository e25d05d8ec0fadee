"""Damage: bytes of a file are flipped or cut; that is noticed in one line that names the file, or changes nothing.

The truth is what the undamaged file gives.
"""

import gzip
import io
import json
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import kuttax as kx
from kuttax import report
from kuttax.commands import main as cli
from kuttax.commands.saved.configuration import check_configuration, save_configuration
from kuttax.data.images import mnist
from kuttax.data.images.idx import read_idx
from kuttax.data.series import physionet
from kuttax.data.systems import trajectory_files
from kuttax.data.tables.own import load as load_table
from kuttax.errors import UnverifiedWarning, UserError
from kuttax.io import json_file, records
from kuttax.io.checkpoints import Checkpoints, SavedPart
from kuttax.io.folder import Folder
from kuttax.io.shape import mismatch, shape_of
from kuttax.report import curves, forecast
from kuttax.solvers.serialise import from_json, to_json
from kuttax.tasks.registry import build
from kuttax.training.checkpoint import batch_size_of, load_run, save_run

FLIPS, CUTS = 12, 6
OPTIONS = {"width": 2}
TASK = {"name": "digits", "options": OPTIONS}
RECORD = {"batch_size": 72}


def learned():
    return kx.LearnedRK.from_tableau(kx.tableaus.RK4, 2, order=2, per_step=True, learn_steps=True, dtype=np.float32)


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def task():
    return build("digits", **OPTIONS)


@pytest.fixture
def run(tmp_path, task):
    save_run(tmp_path / "run", task.init(jax.random.key(0)), learned(), {"task": TASK, "record": RECORD})
    return tmp_path / "run"


def plain(tree):
    """What is compared: all numbers, bit by bit."""
    return jax.tree.map(lambda x: np.asarray(x).tobytes() if eqx.is_array_like(x) else x, jax.tree.leaves(tree))


# What each command reads of each kind of file, as a function of the folder


def saved_run(folder, task):
    _, model, solver = load_run(folder, task)
    return plain(model), to_json(solver), batch_size_of(folder)


def comparison(folder, task):
    found = report.read(folder)
    runs = sorted((folder / "runs").iterdir())
    drawn = forecast.read({path.name: path for path in runs if (path / "forecast.json").exists()})
    return found, [curves.read(path) for path in runs], drawn


def configuration(folder, task):
    return check_configuration(Folder(folder, "train"), {"task": "digits", "training": {"lr": 0.1, "seed": 3}})


def checkpoint(folder, task):
    found = Checkpoints(folder).latest(say=lambda text: None)
    return plain([state.arrays for state in found.parts.values()]), [state.plain for state in found.parts.values()]


def make_comparison(folder):
    about = {"task": "digits", "metric": {"name": "accuracy", "unit": "%"}, "label": "RK4", "budget": 8}
    numbers = {"validation": 97.25, "test": 96.5, "nfe": 8.0, "predict_ms": None, "train_seconds": 3.125}
    record = {"kind": "run", **about, "method": "rk4", "seed": 0, **numbers, "versions": {"kuttax": "0.1.0"}}
    own = Folder(folder, "compare")
    with own.writing("records.jsonl"):
        records.append(folder / "records.jsonl", {"kind": "command", "command": "kuttax compare digits"})
        records.append(folder / "records.jsonl", record)
    part = own.part(f"runs/{report.run_name(record)}")
    example = {"time": "t (h)", "names": ["a", "b"], "sd": [1.0, 2.0], "truth": [[0.5, None]] * 3}
    example |= {"found": [[0.25, 1.25]] * 3}
    found = {"lead": [1.0, 2.0], "rmse": [0.125, None], "diverged": 1, "valid": {"times": [1.0]}, "example": example}
    with part.writing("metrics.jsonl", "forecast.json"):
        for step in range(3):
            records.append(part.path / "metrics.jsonl", {"step": step, "loss": 2.0 / (1 + step), "nfe": 8.0})
        (part.path / "forecast.json").write_text(json.dumps(found))
    return folder


def make_configuration(folder):
    save_configuration(Folder(folder, "train"), {"task": "digits", "training": {"lr": 0.1, "seed": 3}})
    return folder


def make_checkpoint(folder):
    Checkpoints(folder).save(
        {"run": SavedPart({"step": 7, "loss": 0.5}, [np.arange(5.0), np.ones((2, 3), np.float32)])}
    )
    return folder


def stays_of(folder):
    """Those of an archive that cannot be the official one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedWarning)
        return list(physionet.load(folder))


def make_stays(folder):
    text = "Time,Parameter,Value\n00:00,Age,54\n00:07,HR,73\n01:52,HR,81.5\n"
    folder.mkdir()
    with tarfile.open(folder / "set-a.tar.gz", "w:gz") as archive:
        for i in range(3):
            about = tarfile.TarInfo(f"set-a/{i}.txt")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))
    return folder


def make_images(folder):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, n in (("train", 4), ("t10k", 2)):
        images, labels = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), rng.integers(0, 10, n).astype(np.uint8)
        for array, name in ((images, f"{part}-images-idx3-ubyte.gz"), (labels, f"{part}-labels-idx1-ubyte.gz")):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(gzip.compress(head + array.tobytes()))
    return folder


def make_npz(folder):
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", t=np.arange(6.0), x=rng.standard_normal((6, 2)))
    np.savez_compressed(folder / "packed.npz", x=rng.standard_normal((6, 2)))
    return folder


def test_an_archive_that_ends_inside_of_a_file_is_noticed(tmp_path):
    """So large a file that its damage shows while it is read, not when its name is."""
    rng = np.random.default_rng(0)
    lines = [f"{i // 60 % 48:02d}:{i % 60:02d},HR,{x:.17g}" for i, x in enumerate(rng.uniform(50, 90, 40_000))]
    text = "\n".join(["Time,Parameter,Value", *lines, ""]).encode()
    path = tmp_path / "set-a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        about = tarfile.TarInfo("set-a/1.txt")
        about.size = len(text)
        archive.addfile(about, io.BytesIO(text))
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(UserError, match=r"set-a\.tar\.gz: not a readable archive"):
        stays_of(tmp_path)


KINDS = {
    "comparison": (make_comparison, comparison),
    "configuration": (make_configuration, configuration),
    "stays": (make_stays, lambda folder, _: plain(stays_of(folder))),
    "images": (make_images, lambda folder, _: plain(mnist.load(folder))),
    "archives": (
        make_npz,
        lambda f, _: plain([trajectory_files.load(f / "data.npz").trajectories, load_table(f / "packed.npz").x]),
    ),
}


def damages(content: bytes, rng: np.random.Generator):
    """The content with one bit flipped, or one byte replaced; or without its end, or a piece in its middle."""
    for i in range(FLIPS):
        spoiled, place = bytearray(content), int(rng.integers(len(content)))
        spoiled[place] = spoiled[place] ^ (1 << int(rng.integers(8))) if i % 2 else int(rng.integers(256))
        yield bytes(spoiled)
    for i in range(CUTS):
        start, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
        yield content[:start] if i % 2 else content[:start] + content[start + length :]


def assert_noticed(folder: Path, read, task, rng):
    """Damage every file of a folder, one at a time."""
    truth = read(folder, task)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for spoiled in damages(content, rng):
            path.write_bytes(spoiled)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    found = read(folder, task)
            except UserError as error:
                assert "\n" not in str(error) and path.name in str(error), str(error)
            except (RuntimeWarning, UnverifiedWarning) as warning:
                assert str(folder) in str(warning)
            else:
                assert found == truth, (path.name, spoiled)
            path.write_bytes(content)
    assert read(folder, task) == truth


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_or_changes_nothing(kind, tmp_path, rng):
    make, read = KINDS[kind]
    assert_noticed(make(tmp_path / kind), read, None, rng)


def test_damage_of_a_run_is_noticed_or_changes_nothing(run, task, rng):
    assert_noticed(run, saved_run, task, rng)


def test_damage_of_a_checkpoint_is_noticed(tmp_path, rng):
    """The only one: there is none before it to go on from."""
    folder = make_checkpoint(tmp_path / "checkpoints")
    assert_noticed(folder, checkpoint, None, rng)


def test_damage_of_a_solver_on_its_own_is_noticed(tmp_path, rng):
    kx.save(tmp_path / "solver.json", learned())
    assert_noticed(tmp_path, lambda folder, _: to_json(kx.load(folder / "solver.json")), None, rng)


# A run


def test_another_runs_model_is_refused(run, task, tmp_path):
    save_run(tmp_path / "other", task.init(jax.random.key(1)), learned(), {"task": TASK, "record": RECORD})
    (run / "model.eqx").write_bytes((tmp_path / "other" / "model.eqx").read_bytes())
    assert f"{run / 'model.eqx'} is damaged or another file" in refusal(load_run, run, task)


def test_weights_that_are_not_finite_are_refused(run, task):
    model = jax.tree.map(lambda x: x * np.nan if eqx.is_inexact_array(x) else x, task.init(jax.random.key(0)))
    save_run(run, model, learned(), {"task": TASK, "record": RECORD})
    said = refusal(load_run, run, task)
    assert "model.eqx" in said and "NaN or infinity" in said


def test_a_run_without_digests_is_loaded_with_a_warning(run, task):
    truth = saved_run(run, task)
    (run / "manifest.json").unlink()
    with pytest.warns(UnverifiedWarning, match="cannot be verified"):
        assert saved_run(run, task) == truth


def test_a_run_whose_saving_was_interrupted_is_refused(run, task, monkeypatch):
    """The new model with the old solver is no result of anybody's."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kuttax.training.checkpoint.save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_run(run, task.init(jax.random.key(1)), learned(), {"task": TASK})
    assert "model.eqx is not finished" in refusal(load_run, run, task)


# A solver


def changed(data, **fields):
    return {**json.loads(json.dumps(data)), **fields}


@pytest.mark.parametrize(
    "fields", [{"order": 1}, {"dtype": "int32"}, {"dtype": "bool"}, {"dtype": "complex64"}], ids=str
)
def test_a_solver_that_does_not_give_its_own_table_is_refused(fields):
    """The chart of order 3, with parameters that training has moved."""
    start = kx.LearnedRK.from_tableau(kx.tableaus.RK4, 2, order=3, per_step=True, dtype=np.float32)
    moved = eqx.tree_at(lambda s: s.chart, start, jax.tree.map(lambda x: x + np.float32(0.125), start.chart))
    data = to_json(moved)
    assert to_json(from_json(changed(data))) == data
    assert "damaged" in refusal(from_json, changed(data, **fields))


def test_the_chart_of_another_solver_is_refused():
    one, other = (to_json(kx.LearnedRK.from_tableau(t, 2, order=2, dtype=np.float32)) for t in (kx.tableaus.RK4, OTHER))
    assert "its parameters do not give" in refusal(from_json, changed(one, chart=other["chart"]))


OTHER = kx.tableaus.Tableau.explicit("other", [[], [1 / 3], [0, 2 / 3], [0, 0, 1]], [0.25, 0, 0.75, 0], 2)


@pytest.mark.parametrize(
    "fields",
    [
        *({"steps": value} for value in (0, -1, 1.5, "2", True, [2])),
        *({"rtol": value} for value in ("1e-3", None, [], -1.0)),
        {"tableau": 3},
        {"tableau": {"name": "x"}},
        {"control": "both"},
    ],
    ids=str,
)
def test_fields_of_the_wrong_kind_are_refused(fields):
    fixed, adaptive = kx.FixedSteps(kx.tableaus.RK4, 2), kx.Adaptive(kx.tableaus.DOPRI5, 1e-3, 1e-3)
    refusal(from_json, changed(to_json(fixed if "steps" in fields else adaptive), **fields))


def test_solvers_within_solvers_end_somewhere():
    data = to_json(kx.Reversible(kx.FixedSteps(kx.tableaus.RK4, 2)))
    for _ in range(5000):
        data = {**data, "solver": data}
    refusal(from_json, data)


# JSON


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DEEP, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": -1e308}', "-1e308 is too large"),
        (b'{"a": 99999999999999999999}', "more than 64 bits"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "more than 64 bits"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"", "Expecting value"),
    ],
    ids=["deep", "twice", "nan", "large", "squared", "long", "longer", "utf-8", "empty"],
)
def test_json_that_is_none_is_one_line(text, says):
    with pytest.raises(ValueError, match=says) as caught:
        json_file.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shape", "says"),
    [
        ({"a": 1}, {"a": str}, "a must be a text, but is 1"),
        ({}, {"a": str}, "a is missing"),
        ({"a": True}, {"a": int}, "a must be a whole number, but is True"),
        ({"a": [1, "b"]}, {"a": [float]}, "a[1] must be a number, but is 'b'"),
        ({"a": {"b": None}}, {"a": {str: (int, str)}}, "a.b must be a whole number or a text, but is None"),
        ([], {"a": str}, "the whole must be an object, but is []"),
        ({"a": 1}, {"a": float, "b?": str}, None),
        ({"a": None}, {"a": (float, None)}, None),
        ({"path": "x", "size": [1, 2]}, {"path": shape_of(Path | None), "size": shape_of(tuple[int, ...])}, None),
    ],
)
def test_shapes(value, shape, says):
    assert mismatch(value, shape) == says


GOOD = '{"kind": "run", "task": "t", "method": "rk4", "label": "l", "seed": 0, "metric": {"name": "m"}, "test": 1.0}'


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (GOOD.replace('"label": "l", ', ""), "label is missing"),
        (GOOD.replace('"l"', '["l"]'), "label must be a text"),
        (GOOD.replace('{"name": "m"}', '"m"'), "metric must be an object"),
        (GOOD.replace("1.0", "[1.0]"), "test must be a number or null"),
        (GOOD.replace('"seed": 0', '"seed": "0"'), "seed must be a whole number"),
        ('{"kind": ["run"]}', "kind must be a text"),
        ("{}", "kind is missing"),
        (GOOD.replace("1.0", "NaN"), "not a JSON object"),
        (DEEP.decode(), "not a JSON object"),
    ],
    ids=["missing", "list", "text", "list of numbers", "seed", "kind", "nothing", "nan", "deep"],
)
def test_records_of_another_shape_are_named_by_file_and_line(tmp_path, bad, says, capsys):
    path = tmp_path / "records.jsonl"
    path.write_text(f"{GOOD}\n{bad}\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", str(tmp_path)])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    assert says in said and f"{path}:2" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.jsonl", '{"step": 0, "loss": [1.0]}\n'),
        ("metrics.jsonl", '[0, 1]\n{"step": 1}\n'),
        ("forecast.json", "[]"),
        ("forecast.json", '{"lead": [1.0]}'),
        (
            "forecast.json",
            '{"lead": [1.0], "rmse": [], "diverged": 0, "valid": {"times": [1.0]}, '
            '"example": {"time": "", "names": [], "sd": [], "truth": [], "found": []}}',
        ),
        ("forecast.json", DEEP.decode()),
    ],
    ids=["list", "no object", "no forecast", "a field", "lengths", "deep"],
)
def test_what_a_report_draws_from_is_named(tmp_path, name, content):
    (tmp_path / "records.jsonl").write_text(GOOD + "\n")
    run = tmp_path / "runs" / "rk4-adaptive-seed0"
    run.mkdir(parents=True)
    (run / name).write_text(content)
    assert str(run / name) in refusal(report.write, tmp_path)
    assert not (tmp_path / "table.md").exists(), "nothing is drawn before all is read"


@pytest.mark.parametrize(
    "options", [{"width": "wide"}, {"width": [2]}, {"width": None}, {"field": "circle"}, {"time_dependent": 1}], ids=str
)
def test_options_of_a_task_of_another_kind_are_named(run, task, options):
    save_run(run, task.init(jax.random.key(0)), learned(), {"task": {"name": "digits", "options": options}})
    said = refusal(load_run, run)
    assert "run.json" in said and f"task.options.{next(iter(options))}" in said


# Data


def header(shape, dtype="<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**12, 2), (10**12, 0), (2, 3), (-1, 2), (10**30,)], ids=str)
@pytest.mark.parametrize("dtype", ["<f8", "<U0"])
def test_numpy_headers_that_state_another_size_are_refused(tmp_path, shape, dtype):
    content = header(shape, dtype) + bytes(32)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for name in ("a.npy", "a.npz"):
        assert str(tmp_path / name) in refusal(load_table, tmp_path / name)


HEADERS = ["{'shape': (", "(" * 3000, "-" * 3000 + "1", chr(34) * 3, "{'descr': '<f8'}"]


@pytest.mark.parametrize("text", HEADERS, ids=["open", "deep", "signs", "quotes", "a part"])
def test_numpy_headers_that_are_none_are_refused(tmp_path, text):
    """NumPy reads them as Python's literals, with the errors of Python's parser."""
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode())
    assert str(tmp_path / "a.npy") in refusal(load_table, tmp_path / "a.npy")


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kuttax.data.files.npz._MOST_UNPACKED", 10_000)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 2)))
    assert "unpacks to more than" in refusal(load_table, tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((1000, 2)))
    assert load_table(tmp_path / "b.npz").x.shape == (1000, 2)


@pytest.mark.parametrize(
    "shape", [(1,) * 65, (2**16, 2**16, 2), (60000, 28, 28), (2,)], ids=["65", "8 GiB", "short", "long"]
)
def test_idx_headers_that_promise_too_much_are_refused(tmp_path, shape):
    """The gzip file unpacks to 64 MiB; no more of it than the header states is."""
    head = b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    (tmp_path / "a.gz").write_bytes(gzip.compress(head) + gzip.compress(bytes(1000)))
    (tmp_path / "a").write_bytes(head + bytes(1000))
    for name in ("a.gz", "a"):
        assert str(tmp_path / name) in refusal(read_idx, tmp_path / name)


def archive_of(path, *members, size=0):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in members:
            about = tarfile.TarInfo(name)
            about.type, about.linkname, about.size = kind, target, size
            archive.addfile(about, io.BytesIO(bytes(size)))
    return path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE], ids=["symbolic", "hard", "pipe"])
def test_an_archive_of_links_is_refused(tmp_path, kind):
    path = archive_of(
        tmp_path / "set-a.tar.gz", ("set-a/1.txt", kind, "set-a/2.txt"), ("set-a/2.txt", kind, "set-a/1.txt")
    )
    assert f"{path}: not a readable archive" in refusal(lambda: stays_of(tmp_path))


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kuttax.data.series.physionet._MOST_UNPACKED", 1 << 20)
    archive_of(tmp_path / "set-a.tar.gz", ("set-a/1.bin", tarfile.REGTYPE, ""), size=1 << 21)
    assert "unpacks to more than 1 MiB" in refusal(lambda: stays_of(tmp_path))


CSV = "t,x1\n0,1.0\n1,{}\n2,3.0\n"


@pytest.mark.parametrize("value", ["1e300", "-3.5e38", "1_0"])
def test_numbers_that_float32_cannot_hold_are_refused_with_file_and_line(tmp_path, value):
    path = tmp_path / "a.csv"
    path.write_text(CSV.format(value))
    said = refusal(trajectory_files.load, path)
    assert f"{path}, line 3" in said and value in said
    said = refusal(load_table, path)
    assert f"{path}, line 3" in said and value in said
    stay = f"Time,Parameter,Value\n00:00,HR,70\n00:07,HR,{value}\n"
    assert "1.txt, line 3" in refusal(physionet.parse, stay.encode(), "1.txt")


def test_numbers_in_archives_that_float32_cannot_hold_are_refused(tmp_path):
    x = np.array([[1.0], [1e300], [2.0]])
    np.savez(tmp_path / "a.npz", t=np.arange(3.0), x=x)
    assert "row 2 is too large for float32" in refusal(trajectory_files.load, tmp_path / "a.npz")
    assert "row 2, column 1: 1e+300 is too large" in refusal(load_table, tmp_path / "a.npz")
