"""Own data as people have them: tables of many kinds read as the same trajectories, gaps, names in every result."""

import json
import random
import sys
from datetime import UTC, datetime, timedelta

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.commands.main import main
from kuttax.data.systems.columns import Columns
from kuttax.data.systems.trajectory import Trajectory
from kuttax.data.systems.trajectory_files import load
from kuttax.data.systems.windows import Scaling, TrajectorySplits, windows
from kuttax.errors import UserError
from kuttax.tasks import Dynamics

T = np.array([0.0, 0.5, 1.0])
X = np.array([[1.5, -2.0], [2.25, 4.0], [1000.5, 0.125]])
U = np.array([[7.0], [8.0], [9.0]])
HOURS = [datetime(2026, 3, 28, 23, 30, tzinfo=UTC) + timedelta(minutes=30 * k) for k in range(3)]


def rows(delimiter, header, text=str, times=T):
    lines = [[text(t), *map(text, x), *map(text, u)] for t, x, u in zip(times, X, U, strict=True)]
    return "\n".join([header, *(delimiter.join(line) for line in lines)]) + "\n"


def comma(value):
    return str(value).replace(".", ",")


def same(found, *, states=("prey", "predator"), controls=("u1",), t=T):
    (one,) = found.trajectories
    np.testing.assert_array_equal(one.t, t)
    np.testing.assert_array_equal(one.x, X)
    np.testing.assert_array_equal(one.u, U)
    assert (found.source.states, found.source.controls) == (states, controls)


TEXTS = {
    "commas": (".csv", rows(",", "time,prey,predator,u1")),
    "European": (".csv", rows(";", "time;prey;predator;u1", comma)),
    "thousands": (".csv", rows(";", "time;prey;predator;u1", comma).replace("1000,5", "1.000,5")),
    "tab": (".tsv", rows("\t", "time\tprey\tpredator\tu1")),
    "spaces": (".txt", rows("   ", "time prey  predator u1")),
    "bar": (".csv", rows("|", "time|prey|predator|u1")),
    "comments": (
        ".csv",
        "# from the lab\n\n" + rows(",", "time,prey,predator,u1").replace("\n0.5", "\n# a pause\n0.5"),
    ),
    "savetxt": (".txt", rows(" ", "# time prey predator u1")),
    "empty lines of a spreadsheet": (".csv", rows(";", "time;prey;predator;u1", comma) + ";;;\n;;;\n"),
    "quotes": (".csv", rows(",", '"time","prey","predator","u1"')),
    "a mark": (".csv", "\ufeff" + rows(",", "time,prey,predator,u1")),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_tables_of_many_kinds_are_the_same_trajectory(kind, tmp_path):
    ending, text = TEXTS[kind]
    path = tmp_path / f"data{ending}"
    path.write_text(text, encoding="utf-8")
    same(load(path))


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings(encoding, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(rows(",", "time,Höhe,predator,u1").encode(encoding))
    same(load(path), states=("Höhe", "predator"))


def test_an_index_of_pandas_is_no_column(tmp_path):
    lines = rows(",", "time,prey,predator,u1").splitlines()
    path = tmp_path / "data.csv"
    path.write_text("\n".join([f",{lines[0]}", *(f"{i},{line}" for i, line in enumerate(lines[1:]))]))
    same(load(path))
    path.write_text("\n".join([f",{lines[0]}", *(f"{3 * i},{line}" for i, line in enumerate(lines[1:]))]))
    same(load(path))
    path.write_text("\n".join([f",{lines[0]}", *(f"{0.5 * i},{line}" for i, line in enumerate(lines[1:]))]))
    assert load(path).source.states == ("index", "prey", "predator")


def test_columns_under_any_names(tmp_path):
    path = tmp_path / "data.csv"
    lines = rows(",", "seconds,a,b,pump").splitlines()
    path.write_text("\n".join([lines[0] + ",note,rat", *(line + ",text,r7" for line in lines[1:])]))
    chosen = Columns(time="seconds", state=("b", "a"), control_input=("pump",), trajectory="rat")
    found = load(path, chosen)
    np.testing.assert_array_equal(found.trajectories[0].x, X[:, ::-1])
    assert found.source.states == ("b", "a") and found.source.controls == ("pump",)


DATES = {
    "ISO": [when.strftime("%Y-%m-%dT%H:%M:%S") for when in HOURS],
    "with a zone": [when.isoformat() for when in HOURS],
    "Zulu": [when.strftime("%Y-%m-%dT%H:%M:%SZ") for when in HOURS],
    "with a space": [when.strftime("%Y-%m-%d %H:%M") for when in HOURS],
    "European": [when.strftime("%d.%m.%Y %H:%M") for when in HOURS],
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_times_from_the_first(kind, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(rows(",", "date,prey,predator,u1", times=DATES[kind]))
    found = load(path)
    same(found, t=30.0 * np.arange(3))
    assert found.source.time == "time (min)" and "3 times 30 min apart" in found.source.summary


@pytest.mark.parametrize(
    "days", [["2026-01-01", "2026-01-02", "2026-02-01"], ["01.01.2026", "02.01.2026", "01.02.2026"]]
)
def test_days_are_dates_too(days, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(rows(",", "date,prey,predator,u1", times=days))
    np.testing.assert_array_equal(load(path).trajectories[0].t, [0, 1, 31])


@pytest.mark.parametrize(
    ("apart", "unit", "gap"),
    [
        (timedelta(seconds=0.5), "s", 0.5),
        (timedelta(seconds=59), "s", 59),
        (timedelta(minutes=1), "min", 1),
        (timedelta(minutes=90), "h", 1.5),
        (timedelta(hours=36), "d", 1.5),
        (timedelta(days=7), "d", 7),
    ],
)
def test_the_unit_of_dates_suits_their_gaps(apart, unit, gap):
    found = load({"date": [(HOURS[0] + k * apart).isoformat() for k in range(3)], "x": X[:, 0]})
    assert found.source.time == f"time ({unit})" and f"3 times {gap:g} {unit} apart" in found.source.summary
    np.testing.assert_allclose(found.trajectories[0].t, gap * np.arange(3), rtol=1e-12)


def test_objects_in_python():
    same(load({"time": T, "prey": X[:, 0], "predator": X[:, 1], "u1": U[:, 0]}))
    with pytest.raises(UserError, match="expected columns of one length"):
        load({"time": T, "prey": X})
    with pytest.raises(UserError, match="expected a file, a DataFrame, a Dataset or a mapping of arrays, got int"):
        load(3)


def test_frames_and_datasets(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"time": T, "prey": X[:, 0], "predator": X[:, 1], "u1": U[:, 0]})
    same(load(frame))
    same(load(frame.set_index("time")))
    same(load(frame.assign(time=pandas.to_datetime(HOURS))), t=30.0 * np.arange(3))
    frame.to_csv(tmp_path / "frame.csv")
    same(load(tmp_path / "frame.csv"))
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    columns = {name: ("time", frame[name].to_numpy()) for name in ("prey", "predator", "u1")}
    same(load(xarray.Dataset(columns, coords={"time": T})))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'kuttax[parquet]'")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data.parquet"
    columns = {"time": T, "prey": X[:, 0], "predator": X[:, 1], "u1": U[:, 0]}
    parquet.write_table(pyarrow.table(columns), path)
    same(load(path))
    parquet.write_table(pyarrow.table(columns | {"time": pyarrow.array(HOURS, pyarrow.timestamp("us", "UTC"))}), path)
    same(load(path), t=30.0 * np.arange(3))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        load(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"needs pyarrow .*: pip install 'kuttax\[parquet\]', or give a CSV file"):
        load(tmp_path / "data.parquet")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("t,time,x1\n0,1,2\n1,2,3\n", {}, "t and time may both be the times: name one with --time"),
        ("t,x1,note\n0,1,2\n1,2,3\n", {}, "'note' is neither a state x1, x2, ... nor a control input: name the states"),
        ("t,x1,x3\n0,1,2\n1,2,3\n", {}, "column 'x2' is missing: number them from x1 on"),
        ("t,a\n0,1\n1,2\n", {"time": "when"}, "there is no column 'when'; the columns are t, a"),
        ("t,a\n0,1\n1,2\n", {"time": "a", "state": ("a",)}, "column 'a' is given twice"),
        ("t,u1\n0,1\n1,2\n", {}, "no column of states beside t, u1"),
        ("a,b\n0,1\n1,2\n", {}, "no column of times among a, b: name it with --time"),
        ("t,a\n0,1\nsoon,2\n", {}, "line 3: t is no number but 'soon'"),
        ("t,a\nsoon,1\n1,2\n", {}, "line 2: t is no number, date or clock time but 'soon'"),
        ("t,a\n03/04/2026,1\n04/04/2026,2\n", {}, "write dates as 2026-12-31"),
        ("t,a\n2026-01-01T00:00:00Z,1\n2026-01-01T01:00:00,2\n", {}, "some dates have a time zone and some have none"),
    ],
)
def test_what_cannot_be_understood_is_one_line(text, columns, message, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(path, Columns(**columns))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_damaged_text_is_refused_in_one_line_or_read(tmp_path):
    """Random changes to good files, random bytes, and a cell that is too long: never another error."""
    rng, path = random.Random(5), tmp_path / "data.csv"
    good = [rows(";", "time;prey;predator;u1", comma), rows(",", "date,prey,predator,u1", times=DATES["ISO"])]
    pieces = [*"0123456789;,\t|\"'#.-+eE \n\r\x00:TZ", "nan", "1e309", "9" * 30, ""]
    contents = [b"t," + b"x" * 140_000 + b"\n0,1\n", *(rng.randbytes(80) for _ in range(20))]
    for text in good * 100:
        letters = list(text)
        for _ in range(rng.randint(1, 6)):
            letters[rng.randrange(len(letters))] = rng.choice(pieces)
        contents.append("".join(letters).encode(rng.choice(["utf-8", "utf-16", "latin-1"])))
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            assert load(path).trajectories
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 0 < refused < len(contents)


# Gaps


def decaying(rng, *, gaps, count=6, rows=12) -> TrajectorySplits:
    """x' = -(1, 2) x, with this share of the observations missing, none at a start."""
    t, found = 0.1 * np.arange(rows), []
    for _ in range(count):
        x = rng.uniform(1, 2, 2) * np.exp(-np.outer(t, [1.0, 2.0]))
        missing = rng.uniform(size=x.shape) < gaps
        missing[0] = False
        found.append(Trajectory(t, np.where(missing, np.nan, x), np.zeros((rows, 0))))
    return TrajectorySplits(found[:4], found[4:5], found[5:])


def test_errors_are_over_what_is_observed(rng, key):
    """Against a sum over the observed entries of each window, by hand."""
    parts = decaying(rng, gaps=0.3)
    task = Dynamics("gaps", parts, horizon=3, width=4, depth=1)
    assert not np.isnan(task.train.z[:, 0]).any() and np.isnan(task.train.z).any()
    solver, model = kx.FixedSteps(kx.tableaus.RK4, 1), task.init(key)
    batch = jax.tree.map(jnp.asarray, task.train)
    loss, log = task.loss(model, solver, batch, key)
    found = np.asarray(task.predict(model, solver, batch).outputs)
    errors = (found - task.train.z[:, 1:]) ** 2
    expected = np.mean([np.mean(one[~np.isnan(one)]) for one in errors])
    np.testing.assert_allclose([loss, log["metric"] ** 2], expected, rtol=1e-5)
    slope = jax.grad(lambda model: task.loss(model, solver, batch, key)[0])(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    forecast = json.loads(json.dumps(task.forecast(model, solver), allow_nan=False))
    assert None in np.array(forecast["example"]["truth"]).ravel() and None not in forecast["rmse"]
    assert np.isfinite(task.growth(model, solver, task.validation).rates).all()


def test_windows_begin_where_all_is_observed(rng):
    parts = decaying(rng, gaps=0.4)
    scaling = Scaling.of(parts.train)
    whole = np.concatenate([one.x for one in parts.train])
    np.testing.assert_allclose(scaling.mean, np.nanmean(whole, axis=0))
    np.testing.assert_allclose(scaling.std, np.nanstd(whole, axis=0))
    found = windows(parts.train, scaling, 4, 1, plain=True, part="training", segment=2)
    assert not np.isnan(found.z[:, [0, 2]]).any()
    possible = sum(
        not np.isnan(one.x[[k, k + 2]]).any() and not np.isnan(one.x[k + 1 : k + 5]).all()
        for one in parts.train
        for k in range(len(one.t) - 4)
    )
    assert len(found.z) == possible > 0
    late = Trajectory(np.arange(9.0), np.array([[1.0]] * 2 + [[np.nan]] * 2 + [[1.0]] * 5), np.zeros((9, 0)))
    starts = windows([late._replace(x=late.x * late.t[:, None])], scaling, 2, 2, plain=True, part="test").z[:, 0, 0]
    np.testing.assert_allclose(starts * scaling.std[0] + scaling.mean[0], [0, 4, 6], atol=1e-6)
    never = Trajectory(np.arange(5.0), np.array([[np.nan, 1.0], [1, np.nan]] * 2 + [[np.nan, 1]]), np.zeros((5, 0)))
    with pytest.raises(UserError, match="no training window begins where all states are observed"):
        windows([never], scaling, 2, 1, plain=True, part="training")


@pytest.mark.slow
def test_a_short_european_table_from_the_command_line(tmp_path, capsys, any_certificate):
    """Case 38 and 39: 61 rows, dates, decimal commas, gaps; fewer windows than the batch size."""
    start, lines = datetime(2026, 1, 1), ["Datum;prey;predator"]
    for k in range(61):
        x, y = 2 + np.cos(0.2 * k), 1 + 0.5 * np.sin(0.2 * k)
        prey = "" if k == 30 else comma(f"{x:.4f}")
        lines.append(f"{start + timedelta(hours=k):%d.%m.%Y %H:%M};{prey};{comma(f'{y:.4f}')}")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    call = [
        "train",
        "dynamics",
        "--file",
        str(tmp_path / "mine.csv"),
        "--time",
        "Datum",
        "--solver",
        "rk4",
        "--steps",
        "1",
    ]
    call += ["--train-steps", "4", "--horizon", "3", "--width", "4", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(call)
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "data: 1 trajectory; 61 times 1 h apart; states prey, predator; 0.82 % of the states missing" in said
    assert "batch size: " in said and " in place of 64: there are no more training samples" in said
    drawn = (tmp_path / "out" / "forecast.svg").read_text()
    assert "prey" in drawn and "time (h) ahead" in drawn
    example = json.loads((tmp_path / "out" / "forecast.json").read_text())["example"]
    assert example["names"] == ["prey", "predator"] and example["truth"][0][0] == pytest.approx(
        2 + np.cos(0.2 * 49), abs=1e-4
    )
