"""Series: files against hand-made truth, paths and areas against diffrax and sums, solves against SciPy, training."""

import dataclasses
import importlib
import json
import types
from itertools import pairwise

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from slowness import mostly_slow

import kuttax as kx
from kuttax.commands.main import main
from kuttax.data.series import aeon_sets, series_files, spirals
from kuttax.data.series.columns import SeriesColumns
from kuttax.data.series.controls import Controls, controls, cubic, increment_length, linear, log_linear
from kuttax.data.series.labelled import Labelled, LabelledSplits, check_labelled, lengths, padded
from kuttax.data.series.paths import PathScaling, paths, without_gaps
from kuttax.errors import UserError
from kuttax.nn.controlled import NeuralCDE
from kuttax.nn.fields.controlled import rate
from kuttax.tasks import Controlled, Task, build
from kuttax.tasks.abilities import HasIntervals, HasTrajectories
from kuttax.training.certify import certify_run
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

SMALL = {"state": 4, "width": 5}
FINE = kx.Adaptive(kx.tableaus.DOPRI8, 1e-11, 1e-11)
UNITS = PathScaling(1.0, np.zeros(2), np.ones(2), np.ones(2))


def some(rng, n=12, longest=9, channels=2, classes=2) -> Labelled:
    """Random values at random times, of different lengths, a fifth of them missing."""
    times, values = [], []
    for length in rng.integers(3, longest + 1, n):
        times.append(np.sort(rng.uniform(0, 5, length)))
        x = rng.standard_normal((length, channels))
        values.append(np.where(rng.random(x.shape) < 0.2, np.nan, x))
    return padded(times, values, np.arange(n, dtype=np.int32) % classes)


def task_of(data: Labelled, classes=("a", "b"), **options) -> Controlled:
    """A task whose three parts are the same series."""
    names = tuple(f"x{i + 1}" for i in range(data.values.shape[2]))
    return Controlled("series", LabelledSplits(data, data, data, names, classes), **{**SMALL, **options})


def in_float64(tree):
    cast = lambda x: jnp.asarray(x, jnp.float64) if np.issubdtype(x.dtype, np.floating) else jnp.asarray(x)
    return jax.tree.map(lambda x: cast(x) if eqx.is_array(x) else x, tree)


# Files


HEADER = "series,t,a,label,b\n"


def written(tmp_path, text: str):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path):
    """Lines in any order, two origins of time, gaps, a channel whose name is not ours."""
    lines = ["u,1700000002,3,yes,", "v,-1,7,no,8", "u,1700000000,1,yes,2", "u,1700000001.5,,yes,nan", "v,0.5,9,no,10"]
    found = series_files.load(written(tmp_path, HEADER + "\n".join(lines) + "\n"))
    assert found.names == ("a", "b") and found.classes == ("no", "yes")
    nan = np.nan
    np.testing.assert_array_equal(found.series.y, [1, 0])
    np.testing.assert_array_equal(found.series.times, [[1700000000, 1700000001.5, 1700000002], [-1, 0.5, nan]])
    np.testing.assert_array_equal(found.series.values, [[[1, 2], [nan, nan], [3, nan]], [[7, 8], [9, 10], [nan, nan]]])
    check_labelled("mine", found.series)


@pytest.mark.parametrize(
    ("labels", "target", "y", "classes"),
    [
        (("10", "9"), "auto", [1, 0], ("9", "10")),
        (("1.5", "2"), "auto", [1.5, 2.0], None),
        (("1.5", "2"), "class", [0, 1], ("1.5", "2")),
        (("3", "2"), "number", [3.0, 2.0], None),
        (("b", "2"), "auto", [1, 0], ("2", "b")),
    ],
)
def test_labels_are_classes_or_numbers(tmp_path, labels, target, y, classes):
    text = HEADER + "".join(f"{i},0,1,{label},1\n" for i, label in enumerate(labels))
    found = series_files.load(written(tmp_path, text), target)
    np.testing.assert_array_equal(found.series.y, y)
    assert found.classes == classes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no observations: give a header line"),
        (HEADER, "no observations: give a header line"),
        ("series,t,a\nu,0,1\n", "no column of labels among series, t, a: name it with --label"),
        ("t,a,label\n0,1,x\n", "no column of names of series among t, a, label: name it with --series"),
        ("series,t,label\nu,0,x\n", "no channel beside series, t, label: give at least one"),
        ("series,t,label,\nu,0,x,1\n", "column 4 has no name: give each column one"),
        ("series,t,a,a,label\nu,0,1,1,x\n", "column 'a' is there twice"),
        (HEADER + "u,0,1,x\n", "line 2: the first line has 5 cells, this one 4"),
        (HEADER + "u,0,1,x,oops\n", "line 2: b is no number but 'oops'"),
        (HEADER + "u,0,inf,x,1\n", "line 2: a is 'inf': mend the line"),
        (HEADER + "u,0,1e39,x,1\n", "line 2: a = 1e39 is too large for float32"),
        (HEADER + "u,,1,x,1\n", "line 2: t is '', and may have no gaps"),
        (HEADER + "u,0,1,,1\n", "line 2: label is '', and may have no gaps"),
        (HEADER + "u,0,1,x,1\nu,1,1,y,1\n", "line 3: series 'u' has the labels 'x' and 'y'"),
        (HEADER + "u,0,1,x,1\nv,1,1,y,1\nu,0,1,x,1\n", "line 4: series 'u' has the time 0 twice"),
        (HEADER + "u,0,1,x,1\nv,0,1,x,1\n", "all series have the label 'x'"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_line(tmp_path, text, says):
    with pytest.raises(UserError) as error:
        series_files.load(written(tmp_path, text))
    assert says in str(error.value) and "mine.csv" in str(error.value) and "\n" not in str(error.value)


EUROPEAN = """Patient;Datum;Druck;Puls;Diagnose
a;01.03.2026 13:00;1,5;60;ja
b;02.03.2026 08:30;2,5;;nein
a;01.03.2026 15:00;1.001,5;62;ja
b;02.03.2026 08:00;2,25;70;nein
"""
CHOSEN = SeriesColumns(series="Patient", time="Datum", label="Diagnose")


def test_columns_are_chosen_from_a_table_of_another_country(tmp_path):
    """Dates become hours from the first of all, because most gaps within a series are of hours."""
    found = series_files.load(written(tmp_path, EUROPEAN), columns=CHOSEN)
    assert (found.names, found.classes) == (("Druck", "Puls"), ("ja", "nein"))
    np.testing.assert_allclose(found.series.times, [[0, 2], [19, 19.5]], rtol=1e-12)
    np.testing.assert_array_equal(found.series.values, [[[1.5, 60], [1001.5, 62]], [[2.25, 70], [2.5, np.nan]]])
    assert found.summary == (
        "2 series; 2 times 0.5 to 2 h apart; channels Druck, Puls; 12 % of the values missing; classes ja, nein"
    )
    one = series_files.load(written(tmp_path, EUROPEAN), columns=dataclasses.replace(CHOSEN, channel=("Puls",)))
    np.testing.assert_array_equal(one.series.values, found.series.values[..., 1:])


def test_tables_in_python_are_series(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(
        {
            "id": [1, 2, 1, 2],
            "timestamp": np.array(["2026-03-01T13", "2026-03-02T08:30", "2026-03-01T15", "2026-03-02T08"], "M8[ns]"),
            "pressure": [1.5, 2.5, 1001.5, 2.25],
            "pulse": [60, np.nan, 62, 70],
            "label": ["yes", "no", "yes", "no"],
        }
    )
    expected = series_files.load(written(tmp_path, EUROPEAN), columns=CHOSEN).series
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'kuttax[parquet]'")
    frame.to_parquet(tmp_path / "mine.parquet")
    for source in (frame, tmp_path / "mine.parquet", {name: frame[name].to_numpy() for name in frame}):
        found = series_files.load(source)
        for mine, theirs in zip(found.series[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert found.classes == ("no", "yes") and found.names == ("pressure", "pulse")
        pulse = series_files.load_observed(source, SeriesColumns(channel=("pulse",)))
        assert [one.x.tolist() for one in pulse.series] == [[[60], [62]], [[70], [0]]]


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"time": "when"}, "there is no column 'when'; the columns are Patient, Datum"),
        ({"series": "Datum", "time": "Datum"}, "column 'Datum' is given twice"),
        ({"time": "Datum", "label": "Diagnose"}, "no column of names of series among Patient"),
        ({**vars(CHOSEN), "channel": ("Druck",), "label": "Puls"}, "line 3: Puls is '', and may have no gaps"),
        ({**vars(CHOSEN), "channel": ("Diagnose", "Druck")}, "column 'Diagnose' is given twice"),
    ],
)
def test_chosen_columns_that_do_not_fit_are_refused(tmp_path, chosen, says):
    with pytest.raises(UserError, match=says):
        series_files.load(written(tmp_path, EUROPEAN), columns=SeriesColumns(**chosen))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "raw.csv").write_bytes(b"\xff\xfe\x00")
    text = HEADER + "u,0,1,x,1\nv,0,1,2.5,1\n"
    for path, target, says in (
        ("mine.npz", "auto", "series are read from .csv, .tsv, .txt and .parquet files"),
        ("nowhere.csv", "auto", "no file at"),
        ("raw.csv", "auto", "not a readable CSV file"),
        (written(tmp_path, text).name, "number", "the label 'x' is no finite number"),
    ):
        with pytest.raises(UserError, match=says):
            series_files.load(tmp_path / path, target)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"times": np.array([[0.0, 0.0], [0.0, 1.0]])}, "series 0 needs increasing finite times"),
        ({"times": np.array([[0.0, 1.0], [np.nan, 1.0]])}, "series 1 needs increasing finite times"),
        ({"values": np.full((2, 2, 1), np.inf)}, "series 0 has a value that is infinite"),
        ({"values": np.zeros((2, 2))}, "expected values"),
        ({"y": np.array([0, -1])}, "labels are class numbers from 0 or finite numbers"),
        ({"y": np.array([0.5, np.nan])}, "labels are class numbers from 0 or finite numbers"),
    ],
)
def test_invalid_series_are_refused(change, says):
    good = Labelled(np.zeros((2, 2, 1)), np.array([[0.0, 1.0], [3.0, np.nan]]), np.array([0, 1]))
    assert lengths(check_labelled("some", good)).tolist() == [2, 1]
    with pytest.raises(UserError, match=says):
        check_labelled("some", good._replace(**change))


def test_aeon_is_asked_and_missed(monkeypatch):
    """A stand-in for the package: series (channels, length), labels as texts."""
    x = {"train": [np.ones((1, 3)), np.full((1, 2), 2.0)], "test": [np.zeros((1, 4))]}
    labels = {"train": np.array(["10", "9"]), "test": np.array(["9"])}
    asked = []

    def load_classification(name, split, extract_path):
        asked.append((name, extract_path))
        if name == "Nope":
            raise ValueError("no such\nset")
        return x[split], labels[split]

    fake = types.SimpleNamespace(load_classification=load_classification)
    monkeypatch.setattr(importlib, "import_module", lambda name: fake)
    train, test, names, classes = aeon_sets.load("Some", "here")
    assert asked == [("Some", "here")] * 2 and names == ("x1",) and classes == ("9", "10")
    np.testing.assert_array_equal(train.y, [1, 0])
    np.testing.assert_array_equal(train.times, [[0, 1, 2], [0, 1, np.nan]])
    assert test.values.shape == (1, 4, 1)
    with pytest.raises(UserError, match=r"aeon has no classification data set 'Nope' \(no such set\)"):
        aeon_sets.load("Nope")

    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install 'kuttax\[aeon\]'"):
        aeon_sets.load("Some")


def test_aeons_own_sets():
    pytest.importorskip("aeon")
    task = build("series", data="JapaneseVowels", windows=3)
    assert task.parts.classes == tuple("123456789") and len(task.test.y) == 370
    assert len(task.train.y) + len(task.validation.y) == 270
    found = lengths(task.parts.test)
    assert task.train.start.shape[1] == 13 and found.min() >= 7 and found.max() == 29


# Paths


def test_gaps_are_filled_by_lines_in_time():
    t = np.array([0.0, 1.0, 4.0, 5.0, 9.0])
    x = np.array([[np.nan, 1.0, np.nan, 5.0, np.nan], [np.nan] * 5, [2.0, np.nan, np.nan, np.nan, 2.0]]).T
    expected = np.array([[1.0, 1.0, 4.0, 5.0, 5.0], [0.0] * 5, [2.0] * 5]).T
    np.testing.assert_allclose(without_gaps(t, x), expected)


def test_gaps_are_filled_as_diffrax_fills_them(rng):
    t, x = np.sort(rng.random(20)), rng.standard_normal((20, 3))
    x = np.where(rng.random(x.shape) < 0.4, np.nan, x)
    first = np.array([column[np.isfinite(column)][0] for column in x.T])
    filled = diffrax.linear_interpolation(
        jnp.asarray(t), jnp.asarray(x), fill_forward_nans_at_end=True, replace_nans_at_start=jnp.asarray(first)
    )
    np.testing.assert_allclose(without_gaps(t, x), filled, rtol=1e-12)


def test_the_channels_of_a_path():
    nan = np.nan
    data = padded(
        [np.array([5.0, 6.0, 9.0]), np.array([0.0, 2.0])], [np.array([[1.0], [nan], [3.0]]), np.ones((2, 1))], [0, 1]
    )
    scaling = PathScaling.of(data)
    assert scaling.duration == 4 and scaling.most == [2]
    np.testing.assert_allclose([*scaling.mean, *scaling.std], [1.5, np.std([1, 3, 1, 1])])
    first, second = paths(data, scaling, counts=True)
    x = (np.array([1.0, 1.5, 3.0]) - 1.5) / np.std([1, 3, 1, 1])
    np.testing.assert_allclose(first, np.stack([[0, 0.25, 1], x, [0.5, 0.5, 1]], axis=1))
    np.testing.assert_allclose(second[:, [0, 2]], [[0, 0.5], [0.5, 1]])


def test_a_window_for_each_interval_is_diffraxs_interpolation(rng):
    knots, s = rng.standard_normal((6, 3)), np.linspace(0.05, 4.95, 23)
    ends, ts = np.arange(6.0), jnp.arange(6.0)
    straight = diffrax.LinearInterpolation(ts, jnp.asarray(knots))
    smooth = diffrax.CubicInterpolation(ts, diffrax.backward_hermite_coefficients(ts, jnp.asarray(knots)))
    for cut, truth in ((linear, straight), (cubic, smooth)):
        found = jax.vmap(rate, in_axes=(0, None))(jnp.asarray(s), jnp.asarray(cut(knots, ends)))
        np.testing.assert_allclose(found, jax.vmap(truth.derivative)(jnp.asarray(s)), atol=1e-12)


def test_a_smooth_path_passes_through_the_ends_of_its_windows(rng):
    knots = rng.standard_normal((9, 2))
    ends = np.linspace(0, 8, 4)
    rates = cubic(knots, ends)
    moved = rates[:, 0] + rates[:, 1] / 2 + rates[:, 2] / 3
    places = np.stack([np.interp(ends, np.arange(9), x) for x in knots.T], axis=1)
    np.testing.assert_allclose(places[0] + np.cumsum(moved, axis=0), places[1:])
    np.testing.assert_allclose(rates[:-1].sum(axis=1), rates[1:, 0], err_msg="the derivative jumps")


def test_log_signatures_are_double_sums(rng):
    """Windows whose ends lie between knots; the path refined to many points, summed over all pairs of its pieces."""
    knots, ends = rng.standard_normal((7, 3)), np.array([0.0, 1.7, 4.0, 4.4, 6.0])
    found = log_linear(knots, ends)[:, 0]
    for window, (a, b) in enumerate(pairwise(ends)):
        places = np.unique(np.concatenate([[a, b], np.arange(7)[(np.arange(7) > a) & (np.arange(7) < b)]]))
        points = np.stack([np.interp(places, np.arange(7), x) for x in knots.T], axis=1)
        steps = np.diff(points, axis=0)
        areas = [
            sum(steps[k, i] * steps[m, j] - steps[k, j] * steps[m, i] for m in range(len(steps)) for k in range(m)) / 2
            for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        np.testing.assert_allclose(found[window], [*(points[-1] - points[0]), *areas], atol=1e-12)


def test_the_area_of_a_circle():
    angle = np.linspace(0, 2 * np.pi, 2001)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(log_linear(circle, np.array([0.0, 2000.0]))[0, 0], [0, 0, np.pi], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"path": "cubic"}, {"log_signature": 2, "counts": True}])
def test_neither_padding_nor_the_origin_of_time_changes_a_path(rng, options):
    data = some(rng)
    wider = [(0, 0), (0, 4)]
    longer = Labelled(
        np.pad(data.values, [*wider, (0, 0)], constant_values=np.nan),
        np.pad(data.times, wider, constant_values=np.nan),
        data.y,
    )
    scaling = PathScaling.of(data)
    expected = controls(data, scaling, 5, **options)
    for other in (longer, data._replace(times=data.times + 1.7e9)):
        found = controls(check_labelled("some", other), PathScaling.of(other), 5, **options)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_windows_of_a_task_have_increments_of_length_one(rng):
    data = some(rng)
    for options in ({}, {"counts": True}):
        moved = task_of(data, windows=4, **options).train.rates[:, :, 0]
        np.testing.assert_allclose(np.mean(np.sum(moved**2, axis=2)), 1, rtol=1e-5)
    areas = task_of(data, windows=4, log_signature=2).train.rates[:, :, 0, 3:]
    one = controls(data, PathScaling.of(data), 4, log_signature=2)
    unit = increment_length(data, PathScaling.of(data), 4)
    np.testing.assert_allclose(areas, one.rates[:, :, 0, 3:] / unit**2, rtol=1e-4, atol=1e-6)
    assert increment_length(padded([np.zeros(1)], [np.ones((1, 2))], [0]), UNITS, 3) == 1


def test_one_observation_stands_still(rng):
    data = padded([np.array([3.0])], [np.array([[1.0, np.nan]])], np.array([0]))
    found = controls(data, UNITS, 3)
    np.testing.assert_array_equal(found.start, [[0, 1, 0]])
    assert not found.rates.any()


# Solves


def numpy_field(model: NeuralCDE):
    """f of the paper in NumPy: tanh between the layers and after the last."""
    weights = [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in model.field.layers]

    def f(z):
        for weight, bias in weights:
            z = np.tanh(weight @ z + bias)
        return z.reshape(model.field.size, model.field.channels)

    return f


@pytest.mark.parametrize("solver", mostly_slow([kx.FixedSteps(kx.tableaus.DOPRI8, 40), FINE], FINE), ids=str)
@pytest.mark.parametrize("options", [{}, {"log_signature": 2}, {"path": "cubic"}], ids=str)
def test_the_state_is_scipys(rng, key, solver, options):
    """Window after window, dX/ds as a polynomial; series of different lengths."""
    task = task_of(some(rng, n=3), windows=4, counts=True, **options)
    model, batch = in_float64(task.init(key)), in_float64(task.train)
    found = model.cross(solver, batch.start, batch.rates)
    assert int(found.status) == 0
    f, initial = numpy_field(model), [(np.asarray(x.weight), np.asarray(x.bias)) for x in model.initial]
    for i in range(3):
        z = initial[1][0] @ np.tanh(initial[0][0] @ np.asarray(batch.start[i]) + initial[0][1]) + initial[1][1]
        for window in np.asarray(batch.rates[i]):
            slope = lambda u, z, window=window: f(z) @ sum(c * u**k for k, c in enumerate(window))
            z = solve_ivp(slope, (0, 1), z, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
        np.testing.assert_allclose(found.y1[i], z, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_evaluations_are_windows_times_steps_times_stages(rng, key):
    for options, nfe in (({}, 5 * 2 * 2), ({"path": "cubic"}, 2 * 2), ({"windows": 1}, 2 * 2)):
        task = task_of(some(rng), **{"windows": 5, **options})
        found = task.predict(task.init(key), kx.FixedSteps(kx.tableaus.MIDPOINT, 2), task.train)
        assert int(found.stats.nfe) == nfe
        assert task.intervals * task.interval[1] == task.train.rates.shape[1]


def test_an_interval_of_a_straight_line_may_be_cut(rng, key):
    """A window for each interval, or two: the same straight lines at half the speed, so the same state."""
    t = [np.linspace(0, 1, 6)] * 4
    data = padded(t, list(rng.standard_normal((4, 6, 2))), np.arange(4, dtype=np.int32) % 2)
    model, ends = in_float64(task_of(data).init(key)), []
    for windows in (5, 10):
        batch = in_float64(controls(data, UNITS, windows))
        ends.append(model.cross(kx.FixedSteps(kx.tableaus.RK4, 40), batch.start, batch.rates).y1)
    np.testing.assert_allclose(*ends, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["linear", "cubic"])
def test_solvers_are_distilled_on_windows(rng, key, path):
    """The end of each problem is the state that the whole solve has there."""
    task = task_of(some(rng, n=6), windows=3, path=path)
    model, batch = in_float64(task.init(key)), in_float64(task.train)
    assert isinstance(task, HasTrajectories) and isinstance(task, HasIntervals) and isinstance(task, Task)
    found = task.trajectories(model, batch)
    solver = kx.Adaptive(kx.tableaus.DOPRI5, 1e-9, 1e-9)
    end, rates = kx.solve(found.field, found.y0, found.t0, found.t1, solver=solver, batch_axis=0).y1
    np.testing.assert_array_equal(rates, found.y0[1])
    whole = model.cross(solver, batch.start, batch.rates, ts=np.arange(4.0)).ys
    place = np.arange(6) % 3 + 1 if path == "linear" else np.full(6, 3)
    np.testing.assert_allclose(end, whole[place, np.arange(6)], atol=1e-5)


def test_gradient_of_the_loss_is_its_finite_difference(rng, key):
    task = task_of(some(rng, n=4), windows=3, log_signature=2)
    arrays, rest = eqx.partition(in_float64(task.init(key)), eqx.is_inexact_array)
    batch, solver = in_float64(task.train), kx.FixedSteps(kx.tableaus.HEUN2, 1)
    both = jax.jit(jax.value_and_grad(lambda arrays: task.loss(eqx.combine(arrays, rest), solver, batch, key)[0]))
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), arrays)
    moved = lambda by: both(jax.tree.map(lambda x, d: x + by * d, arrays, direction))[0]
    slope = jax.tree.map(lambda g, d: jnp.sum(g * d), both(arrays)[1], direction)
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-5)


def test_numbers_are_learned_in_standard_deviations(rng, key):
    data = some(rng)
    task = task_of(data._replace(y=100 + 10 * rng.standard_normal(12)), classes=None)
    y = task.parts.train.y
    np.testing.assert_allclose(task.train.y, (y - y.mean()) / y.std(), rtol=1e-5)
    model, solver = task.init(key), kx.FixedSteps(kx.tableaus.MIDPOINT, 1)
    found = task.predict(model, solver, task.train)
    error = np.sqrt(np.mean((np.asarray(found.outputs)[:, 0] - task.train.y) ** 2))
    np.testing.assert_allclose([found.metric, np.sqrt(found.loss)], error, rtol=1e-5)
    value, log = task.loss(model, solver, task.train, key)
    np.testing.assert_allclose([value, log["metric"] ** 2], error**2, rtol=1e-5)
    assert task.metric.unit == "sd" and found.labels is None and found.outputs.shape == (12, 1)


@pytest.mark.slow
def test_a_series_that_fails_is_lost_alone(rng, key):
    task = task_of(some(rng, n=4), max_steps=64)
    solver = kx.Adaptive(kx.tableaus.BOSH3, 1e-3, 1e-3, control="per_sample")
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.train)
    broken = batch._replace(start=batch.start.at[1].set(jnp.nan))
    (value, log), slope = eqx.filter_value_and_grad(lambda m: task.loss(m, solver, broken, key), has_aux=True)(model)
    assert list(log["status"] > 0) == [False, True, False, False] and np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope.field))


# The task


@pytest.mark.slow
def test_spirals_are_learned_and_certified():
    task = build("series", samples=400, noise=0.1, windows=8, state=8, width=16)
    settings = Settings(train_steps=60, batch_size=32, lr=1e-2, per_dispatch=20, evaluations=2)
    solver = kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, steps=1, order=2)
    trained = Trainer(task, solver, settings).run(seed=0)
    assert trained.validation.metric > 90
    found = certify_run(task, trained.model, trained.solver, task.train, batch_size=240)
    assert found.verdict == "valid" and found.rows[0].nfe == 16


def test_spirals_turn(rng):
    data = spirals.generate(30, 0.0, 0.0, 4)
    assert sorted(data.y)[14:16] == [0, 1]
    for t, x, y in zip(data.times, data.values, data.y, strict=True):
        angle = np.unwrap(np.arctan2(*x[np.isfinite(t)].T[::-1]))
        assert (np.sign(np.diff(angle)) == 2 * y - 1).all()
    gaps = np.isnan(spirals.generate(200, 0.1, 0.3, 0).values[:, :24]).mean()
    assert abs(gaps - 0.3) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "windows must be >= 1"),
        ({"path": "cubic", "log_signature": 2}, "--log-signature changes nothing with --path cubic"),
        ({"target": "class"}, "--target changes nothing with --data spirals"),
        ({"data": "BasicMotions", "gaps": 0.1}, "--gaps changes nothing with --data BasicMotions"),
        ({"data_dir": "x"}, "--data-dir changes nothing with --data spirals"),
        ({"gaps": 1.0}, r"gaps must lie in \[0, 1\)"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build("series", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "round"}, "unknown path 'round'; known: linear, cubic"),
        ({"log_signature": 3}, "log_signature must be 1 or 2, got 3"),
        ({"state": 0}, "state must be >= 1, got 0"),
        ({"path": "cubic", "log_signature": 2}, "a cubic path has no log-signatures"),
    ],
)
def test_a_task_made_by_hand_refuses_them_too(rng, options, message):
    with pytest.raises(UserError, match=message):
        task_of(some(rng), **options)


def command(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for argument in arguments for word in str(argument).split()])
    shown = capsys.readouterr()
    assert stop.value.code in (0, 1), shown.err
    return shown.out


@pytest.mark.slow
def test_from_a_file_to_a_certificate(tmp_path, rng, capsys, any_certificate):
    lines = [
        f"{i},{1e9 + k},{'' if rng.random() < 0.2 else rng.normal()},{'up' if i % 2 else 'down'}"
        for i in range(20)
        for k in range(rng.integers(3, 9))
    ]
    path, out = written(tmp_path, "series,t,x,label\n" + "\n".join(lines)), tmp_path / "run"
    tiny = "--state 3 --width 4 --train-steps 2 --per-dispatch 2 --evaluations 1 --batch-size 8"
    command(capsys, f"train series --file {path} {tiny} --out {out}")
    record = json.loads((out / "record.json").read_text())
    assert record["task"] == "series" and record["nfe"] == 7 * 2
    assert "accuracy" in command(capsys, f"evaluate {out} --solver rk4 --steps 1")


@pytest.mark.slow
def test_a_fit(rng):
    task = task_of(some(rng), windows=2)
    settings = Settings(train_steps=2, batch_size=8, per_dispatch=2, evaluations=1)
    options = kx.FitOptions(warm_up=0)
    fitted = kx.fit(task, nfe=2, options=options, settings=settings, most_nfe=2)
    assert fitted.solver.nfe == 2
    assert dataclasses.replace(task, windows=3).train.rates.shape[1] == 3 and isinstance(task.train, Controls)
