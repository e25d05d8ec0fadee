"""Latent: densities and divergences from SciPy and closed forms, the encoder in NumPy, files in PhysioNet's format."""

import dataclasses
import json
import re
import tarfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit
from slowness import mostly_slow

import kuttax as kx
from kuttax.commands.main import main
from kuttax.data.series import oscillations, physionet
from kuttax.data.series.series import Observed, Series, SeriesSplits, hide, natural_grid, on_grid, split
from kuttax.errors import UnverifiedWarning, UserError
from kuttax.nn.path_kl import PathKL
from kuttax.nn.recognition import RecognitionGRU, gaps
from kuttax.tasks import Latent, Task, build
from kuttax.tasks.latent.evidence import gaussian_log_density, kl_from_standard_normal, masked_mean
from kuttax.tasks.latent.reconstruction import reconstruction
from kuttax.training.evaluate import predict
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

pytestmark = pytest.mark.usefixtures("any_certificate")

RK4 = kx.FixedSteps(kx.tableaus.RK4, 1)
FINE = kx.Adaptive(kx.tableaus.DOPRI5, 1e-6, 1e-6)
SMALL = {"latent": 3, "width": 4, "hidden": 5}


def series(rng, n=6, length=5, d=2, last=8) -> Series:
    """Random values at random times of a grid of `last` intervals, some masked out, about half of them shown."""
    index = np.sort(rng.permuted(np.tile(np.arange(last + 1), (n, 1)), axis=1)[:, :length], axis=1).astype(np.int32)
    mask = rng.random((n, length, d)) < 0.7
    mask[:, :2] = True  # at least one time to show and one to hold out
    x = np.where(mask, rng.standard_normal((n, length, d)), 0).astype(np.float32)
    return hide(Series(index, x, mask, np.ones((n, length), bool)), 0.5, seed=0)


def task_of(one: Series, last: int = 8, share: float = 1.0, **options) -> Latent:
    """A task whose three parts are the same series; with a share of 1 a training step draws no times anew."""
    names = tuple(f"x{i + 1}" for i in range(one.x.shape[2]))
    splits = SeriesSplits(one, one, one, np.linspace(0.0, 2.0, last + 1), names, share)
    return Latent("latent", splits, observation_std=0.3, **{**SMALL, **options})


def in_float64(tree):
    cast = lambda x: jnp.asarray(x, jnp.float64) if np.issubdtype(x.dtype, np.floating) else jnp.asarray(x)
    return jax.tree.map(lambda x: cast(x) if eqx.is_array(x) else x, tree)


def test_masked_likelihood_is_scipys(rng):
    x, mean, mask = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 3)), rng.random((4, 5, 3)) < 0.6
    mask[2] = False
    x[0, ~mask[0]] = np.nan
    found = masked_mean(gaussian_log_density(jnp.asarray(x), jnp.asarray(mean), 0.3), jnp.asarray(mask))
    expected = [
        np.mean(stats.norm.logpdf(x[i][mask[i]], mean[i][mask[i]], 0.3)) if mask[i].any() else 0 for i in range(4)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_divergence_is_its_integral(rng):
    mean, std = rng.standard_normal((2, 3)), rng.uniform(0.3, 2.0, (2, 3))

    def one(m, s):
        q = stats.norm(m, s)
        return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), m - 12 * s, m + 12 * s)[0]

    expected = np.vectorize(one)(mean, std).sum(axis=1)
    np.testing.assert_allclose(kl_from_standard_normal(jnp.asarray(mean), jnp.asarray(std)), expected, rtol=1e-7)


def test_the_encoder_is_the_unit_in_numpy(rng, key):
    """Cho et al.'s equations, run backward over the times that are shown; the others hold garbage."""
    encoder = in_float64(RecognitionGRU(2, 4, 3, key=key))
    t, x = np.array([0.3, 0.5, 0.9, 1.4, 2.0]), rng.standard_normal((5, 2))
    mask = np.array([[1, 0], [1, 1], [1, 1], [0, 0], [0, 1]], bool)
    seen = np.array([1, 0, 1, 1, 1], bool)
    cell, state = encoder.cell, np.zeros(4)
    for i, gap in ((4, 2.0 - 0.9), (2, 0.9 - 0.3), (0, 0.3)):  # time 3 is shown, and nothing was observed there
        told = np.concatenate([x[i] * mask[i], mask[i], [gap]])
        from_input, from_state = (
            np.split(part, 3) for part in (cell.weight_ih @ told + cell.bias, cell.weight_hh @ state)
        )
        reset, update = (expit(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        new = np.tanh(from_input[2] + reset * (from_state[2] + cell.bias_n))
        state = (1 - update) * new + update * state
    mean, raw = np.split(encoder.head.weight @ state + encoder.head.bias, 2)
    found = encoder(*map(jnp.asarray, (t, np.where(mask, x, 1e9), mask, seen)))
    np.testing.assert_allclose(found.context, state, rtol=1e-12)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, np.log1p(np.exp(raw)), rtol=1e-12)


def test_gaps_add_up_to_the_last_time_shown(rng):
    t, seen = np.sort(rng.random(9)), rng.random(9) < 0.5
    seen[4] = True
    found = np.asarray(gaps(jnp.asarray(t), jnp.asarray(seen)))
    np.testing.assert_allclose(np.cumsum(found)[seen], t[seen])
    assert not found[~seen].any()


@pytest.mark.parametrize("solver", [kx.EulerMaruyama(40), kx.SRK(10)])
def test_path_divergence_of_drifts_a_constant_apart(solver, key):
    """Two Ornstein-Uhlenbeck processes: |c / g|^2 T / 2 on every path; and the path itself is the posterior's."""
    c, g, rate, end, n = jnp.array([0.3, -0.7]), jnp.array([0.5, 0.2]), 0.8, 1.5, 2000
    paths = PathKL(lambda t, z, args: -rate * z, lambda t, z, args: args, lambda t, z, args: g)
    start = jnp.ones((n, 2)), jnp.zeros(n)
    z, integral = kx.solve(paths.sde("additive"), start, 0.0, end, solver=solver, args=c, batch_axis=0, key=key).y1
    np.testing.assert_allclose(integral, np.full(n, end / 2 * np.sum((c / g) ** 2)), rtol=1e-12)
    mean = np.exp(-rate * end) + c / rate * (1 - np.exp(-rate * end))
    np.testing.assert_allclose(z.mean(0), mean, atol=0.05)


def test_path_divergence_of_two_rates(key):
    """Ornstein-Uhlenbeck processes of rates a, b: (a - b)^2 / (2 g^2) times the integral of E z^2, in closed form."""
    a, b, g, end, n = 1.2, 0.5, 0.6, 1.0, 4000
    scale = lambda t, z, args: jnp.full_like(z, g)
    paths = PathKL(lambda t, z, args: -b * z, lambda t, z, args: (b - a) * z, scale)
    state = jnp.ones((n, 1)), jnp.zeros(n)
    found = kx.solve(paths.sde(), state, 0.0, end, solver=kx.SRK(50), batch_axis=0, key=key).y1[1]
    second = lambda t: np.exp(-2 * a * t) + g**2 / (2 * a) * (1 - np.exp(-2 * a * t))
    expected = (a - b) ** 2 / (2 * g**2) * integrate.quad(second, 0, end)[0]
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(n)


def test_the_grid_rounds_merges_and_pads():
    nothing = np.zeros((1, 2), bool)
    observed = [
        Observed(
            np.array([0.21, 0.0, 0.18, 0.9]),
            np.array([[1.0, 5.0], [3.0, 7.0], [2.0, np.nan], [9.0, 9.0]]),
            np.array([[1, 0], [1, 1], [1, 0], [0, 0]], bool),
        ),
        Observed(np.array([0.5]), np.ones((1, 2)), ~nothing),  # one time: nothing could be held out
        Observed(np.array([0.0, 0.4, 1.0]), np.ones((3, 2)), np.ones((3, 2), bool)),
    ]
    found = on_grid(observed, 0.1, 1.0)
    np.testing.assert_array_equal(found.index, [[0, 2, 10], [0, 4, 10]])
    np.testing.assert_array_equal(found.x[0], [[3, 7], [1.5, 0], [0, 0]])
    np.testing.assert_array_equal(found.mask[0], [[1, 1], [1, 0], [0, 0]])
    assert found.seen[1].all() and not found.seen[0, 2]


def test_a_share_is_hidden_of_every_series(rng):
    whole = series(rng, n=50, length=6)._replace(seen=np.ones((50, 6), bool))
    for share in (0.01, 0.5, 0.99):
        seen, there = hide(whole, share, seed=1).seen, whole.mask.any(axis=2)
        assert not (seen & ~there).any()
        np.testing.assert_array_equal(seen.sum(1), np.clip(np.rint(share * there.sum(1)), 1, there.sum(1) - 1))
    assert hide(whole, 1.0, seed=1) is whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, r"share must lie in \(0, 1\]"),
        ({"held_out": 0.5}, r"held_out must lie in \(0, 0.5\)"),
        ({"rounding": 0.3}, "rounding must divide the time span 1"),
        ({"span": 0.5}, "time outside of 0 to 0.5"),
        ({"observed": [Observed(np.zeros(1), np.ones((1, 1)), np.ones((1, 1), bool))]}, "no series is left"),
        (
            {"observed": [Observed(np.arange(2) / 2, np.full((2, 1), np.nan), np.ones((2, 1), bool))]},
            "series 0 holds NaN",
        ),
    ],
)
def test_series_that_cannot_be_are_refused(change, message):
    one = Observed(np.array([0.0, 1.0]), np.ones((2, 1)), np.ones((2, 1), bool))
    options = {"observed": [one] * 5, "rounding": 0.1, "span": 1.0, "share": 0.5, "held_out": 0.2, "seed": 0, **change}
    with pytest.raises(UserError, match=message):
        split(options.pop("observed"), ["x"], **options)


def test_generated_series_are_what_they_say():
    """Without noise they solve the oscillator's equations: the squares add up to the envelope, which only falls."""
    found = oscillations.generate(20, 0.0, seed=0)
    for one in found:
        both = one.mask.all(axis=1)
        energy = np.sum(one.x[both] ** 2, axis=1)
        assert 15 <= len(one.t) <= 35 and (np.diff(energy) <= 1e-12).all() and one.mask.any(axis=1).all()
        np.testing.assert_allclose(one.t, 0.1 * np.rint(one.t / 0.1), atol=1e-9)
    noisy = oscillations.generate(20, 0.5, seed=0)
    apart = np.concatenate([(a.x - b.x).ravel() for a, b in zip(found[:1], noisy[:1], strict=True)])
    assert 0.3 < apart.std() < 0.7


RECORD = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Height,-1
00:00,Weight,-1
00:07,HR,73
00:07,HR,75
00:37,,
01:52,NISysABP,131
47:59,Weight,81.6
"""


def stay(**lines: str) -> bytes:
    return RECORD.encode() + "".join(f"{line}\n" for line in lines.values()).encode()


def test_a_record_is_read():
    found = physionet.parse(RECORD.encode(), "132539.txt")
    assert len(physionet.NAMES) == 41 and len(physionet.MEASUREMENTS) == 36
    place = physionet.NAMES.index
    expected = [(0, "Age", 54), (7 / 60, "HR", 73), (7 / 60, "HR", 75), (1 + 52 / 60, "NISysABP", 131)]
    expected += [(47 + 59 / 60, "Weight", 81.6)]
    assert found.mask.sum() == len(expected)
    for row, (time, name, value) in enumerate(expected):
        np.testing.assert_allclose([found.t[row], found.x[row, place(name)]], [time, value])
        assert found.mask[row, place(name)]


def test_the_quick_reader_and_the_one_that_names_faults_agree(monkeypatch):
    """A quoted cell makes no difference but the way."""
    lines = RECORD + "12:34,Temp,36.6\n12:34,Gender,-1\n00:07,pH,7.4\n"
    quick = physionet.parse(lines.encode(), "1.txt")
    monkeypatch.setattr(physionet, "_by_columns", lambda content: None)
    for content in (lines, lines.replace("36.6", '"36.6"'), lines.replace("\n", "\r\n")):
        for one, other in zip(quick, physionet.parse(content.encode(), "1.txt"), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "first line is not Time,Parameter,Value"),
        (b"Time;Parameter;Value\n", "first line is not"),
        (b"\xff\xfe", "no readable text"),
        (stay(a="01:00,HR"), "line 11: expected time, parameter and value"),
        (stay(a="01:00,Hr,70"), "line 11: unknown parameter 'Hr'"),
        (stay(a="01:00,HR,fast"), "line 11: expected a finite number, got 'fast'"),
        (stay(a="01:00,HR,nan"), "line 11: expected a finite number"),
        (stay(a="0100,HR,70"), "line 11: expected a time as hh:mm, got '0100'"),
        (stay(a="01:75,HR,70"), "line 11: expected a time as hh:mm"),
        (stay(a="49:00,HR,70"), "line 11: 49:00 is after the 48 hours"),
    ],
)
def test_bad_records_are_refused_in_one_line(content, message):
    with pytest.raises(UserError, match=message) as refused:
        physionet.parse(content, "1.txt")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("1.txt")


@pytest.fixture
def stays(tmp_path):
    """A directory with set-a of eight stays."""
    (tmp_path / "set-a").mkdir()
    for i in range(8):
        lines = {f"l{k}": f"{k:02}:{7 * i:02},HR,{60 + i + k}" for k in range(2, 2 + 3 * (i % 2 + 1))}
        (tmp_path / "set-a" / f"{i}.txt").write_bytes(stay(**lines))
    return tmp_path


def test_records_are_found_in_a_directory_a_folder_and_an_archive(stays, tmp_path):
    folder, packed = list(physionet.load(stays)), tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "set-a.tar.gz", "w:gz") as archive:
        archive.add(stays / "set-a", "set-a")
    total = lambda found: sorted(float(one.x.sum()) for one in found)
    assert len(folder) == 8
    assert total(physionet.load(stays / "set-a")) == total(folder)
    (packed / "set-a.tar.gz").rename(packed / "physionet2012_set-a_8.tar.gz")
    with pytest.warns(UnverifiedWarning, match="holds 8 stays and is not the archive of physionet.org"):
        assert total(physionet.load(packed)) == total(folder)
    (packed / "set-a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="not a readable archive"):
        list(physionet.load(packed))
    with pytest.raises(UserError, match=r"holds no RECORD.txt, no set-a/ and no set-a.tar.gz"):
        physionet.load(tmp_path / "nowhere")


def test_physionet_is_rounded_and_scaled(stays):
    task = build("latent", data="physionet", data_dir=stays, **SMALL)
    assert len(task.splits.times) == 481 and task.splits.times[-1] == 1 and task.observation_std == 0.01
    train, pulse = task.train, physionet.NAMES.index("HR")
    values = train.x[..., pulse][train.mask[..., pulse]]
    assert values.min() == 0 and values.max() == 1, "the training data's range is 0 to 1"
    assert set(train.index[:, 1]) == {1}, "00:07 rounds to a tenth of an hour"
    assert all(isinstance(part, Series) and len(part.index) for part in task.splits[:3])


@pytest.fixture
def own(tmp_path, rng):
    """A CSV file of 12 series that begin on their own days, with gaps; a cosine of time, and something in volts."""
    lines = ["series,t,level,volts"]
    for name in range(12):
        begin = 1.7e9 + 86_400 * name
        for t in np.sort(rng.choice(41, 6 + name, replace=False)) / 4:
            lines.append(f"s{name},{begin + t:.2f},{np.cos(t):.6f},{'' if name % 2 else 100 + t}")
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines[:1] + lines[:0:-1]) + "\n")  # in any order
    return path


def test_own_series_are_read_from_any_origin_with_gaps(own):
    task = build("latent", file=own, **SMALL)
    splits = task.splits
    assert splits.names == ("level", "volts") and task.observation_std == 0.05
    assert splits.times[-1] == 1.0 and splits.unit % 0.25 == 0
    for part in (splits.train, splits.validation, splits.test):
        assert np.all(part.index[:, 0] == 0), "times count from the first of each series"
    volts = splits.low[1] + (splits.high[1] - splits.low[1]) * splits.train.x[..., 1]
    there = splits.train.mask[..., 1]
    begin = np.where(there, volts, np.inf).min(axis=1, keepdims=True)
    t = splits.unit * splits.times[splits.train.index]
    np.testing.assert_allclose(
        (volts - np.broadcast_to(begin, volts.shape))[there], t[there], atol=1e-4
    )  # volts grow by one in a unit of time
    assert not there.any(axis=1).all(), "half of the series have none"


def test_the_picture_of_own_series_is_in_their_units(own):
    task = build("latent", file=own, latent=2, width=4, hidden=4)
    found = reconstruction(task, task.init(jax.random.key(0)), kx.FixedSteps(kx.tableaus.EULER, 1))
    volts = found.names.index("volts")
    seen = found.x[..., volts][found.mask[..., volts]]
    assert np.all(seen >= 99.9) and np.all(seen < 111)
    np.testing.assert_allclose(found.times[1] - found.times[0], 0.25)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.5, 1.5], (0.5, 1.5)),
        ([0, 1e-4, 7.0], (0.02, 7.0)),
        ([0, 0.3, 100.0], (0.3, 100.2)),
    ],
)
def test_the_grid_of_own_series(times, expected):
    times = np.array(times, float)
    found = natural_grid([Observed(times, np.ones((3, 1)), np.ones((3, 1), bool))])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("series,t,x\na,0,1\n", "no series has two different times"),
        ("series,x\na,0\n", "no column of times among series, x: name it with --time"),
        ("series,t\na,0\n", "no channel beside series, t"),
        ("series,t,x\na,0,1\na,0,2\n", "line 3: series 'a' has the time 0 twice"),
        ("series,t,x\na,0,1\na,noon,2\n", "line 3: t is no number but 'noon'"),
        ("series,t,x\na,0,1e300\na,1,2\n", "line 2: x = 1e300 is too large"),
        ("series,t,x\na,0,1\na,1,2\n", "1 series cannot be split into three parts"),
    ],
)
def test_own_series_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        build("latent", file=tmp_path / "mine.csv")


def test_the_loss_is_the_bound(rng, key):
    """A field that is zero, all else by hand: the latent state stays where it is drawn."""
    task = task_of(series(rng), kl=0.7, kl_anneal=0.5)
    model = eqx.tree_at(lambda m: m.field, task.init(key), replace_fn=lambda f: jax.tree.map(jnp.zeros_like, f))
    batch = jax.tree.map(jnp.asarray, task.train)
    value, log = eqx.filter_jit(task.loss)(model, RK4, batch, key, progress=0.25)
    found = eqx.filter_jit(task.encode)(model, batch)
    noise = jax.random.normal(jax.random.split(key, 3)[0], found.mean.shape, jnp.float32)
    z = np.asarray(found.mean + found.std * noise)
    layer = lambda x, layer: x @ np.asarray(layer.weight).T + np.asarray(layer.bias)
    mean = layer(np.tanh(layer(z, model.decoder[0])), model.decoder[1])
    bounds, errors = [], []
    for i in range(len(z)):
        x, mask = task.train.x[i], task.train.mask[i]
        hidden = mask & ~task.train.seen[i][:, None]
        there = np.broadcast_to(mean[i], x.shape)
        total = stats.norm.logpdf(x, there, 0.3)[mask].sum()
        apart = stats.norm(found.mean[i], found.std[i])
        kl = np.sum((apart.mean() ** 2 + apart.var() - 1) / 2 - np.log(apart.std()))
        bounds.append((total - 0.35 * kl) / mask.sum())
        errors.append(np.mean((x - there)[hidden] ** 2))
    np.testing.assert_allclose(value, -np.mean(bounds), rtol=1e-5)
    np.testing.assert_allclose(log["metric"], np.mean(errors), rtol=1e-5)
    assert log["nfe"] == 4


def test_the_weight_of_the_divergence_grows(rng):
    task = task_of(series(rng), kl=2.0, kl_anneal=0.25)
    np.testing.assert_allclose([task.weight(p, jnp.float32) for p in (0.0, 0.125, 0.25, 1.0)], [0, 1, 2, 2])
    assert dataclasses.replace(task, kl_anneal=0.0).weight(0.0, jnp.float32) == 2


def test_predictions_are_of_what_was_not_shown(rng, key):
    task = task_of(series(rng))
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.test)
    predict = eqx.filter_jit(task.predict)
    found = predict(model, FINE, batch)
    hidden = task.test.mask & ~task.test.seen[:, :, None]
    assert not np.asarray(found.outputs)[~hidden].any()
    outputs, x = np.asarray(found.outputs), task.test.x
    squares = [np.mean((outputs[i] - x[i])[one] ** 2) for i, one in enumerate(hidden)]
    nll = [-np.mean(stats.norm.logpdf(x[i], outputs[i], 0.3)[one]) for i, one in enumerate(hidden)]
    np.testing.assert_allclose([found.metric, found.loss], [np.mean(squares), np.mean(nll)], rtol=1e-5)
    garbage = batch._replace(x=jnp.where(hidden, 99.0, batch.x))
    np.testing.assert_array_equal(predict(model, FINE, garbage).outputs, found.outputs)
    whole = predict(model, FINE, batch._replace(seen=jnp.ones_like(batch.seen)))
    assert np.asarray(whole.outputs)[np.asarray(batch.mask)].all(), "where all is shown all is predicted"


@pytest.mark.slow
def test_times_that_are_masked_out_change_nothing(rng, key):
    """Longer rows, and a grid of twice the times, which an adaptive solver only reads off."""
    one = series(rng)
    longer = [
        np.pad(a, [(0, 0), (0, 3), *[(0, 0)] * (a.ndim - 2)], constant_values=v)
        for a, v in zip(one, (8, 7, 0, 1), strict=True)
    ]
    wide, finer = Series(*longer), one._replace(index=2 * one.index)
    task = task_of(one)
    model = task.init(key)

    @eqx.filter_jit
    def both(task, batch):
        (value, log), seen = task.loss(model, FINE, batch, key), task.predict(model, FINE, batch)
        return value, log["metric"], seen.metric, seen.loss, seen.outputs[:, :5]

    expected = both(task, one)
    for other in (both(task, wide), both(task_of(finer, last=16), finer)):
        for a, b in zip(other, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("stochastic", mostly_slow([False, True], True))
def test_gradient_of_the_loss_is_its_finite_difference(stochastic, rng, key):
    task = task_of(series(rng, n=3, last=3, length=3), last=3, share=0.5, stochastic=stochastic)
    solver = kx.EulerMaruyama(1) if stochastic else RK4
    arrays, rest = eqx.partition(in_float64(task.init(key)), eqx.is_inexact_array)
    arrays = jax.tree.map(lambda x: x + 0.1 * jnp.asarray(rng.standard_normal(x.shape)), arrays)
    batch = in_float64(task.train)
    both = jax.jit(jax.value_and_grad(lambda arrays: task.loss(eqx.combine(arrays, rest), solver, batch, key)[0]))
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), arrays)
    moved = lambda by: both(jax.tree.map(lambda x, d: x + by * d, arrays, direction))[0]
    slope = jax.tree.map(lambda g, d: jnp.sum(g * d), both(arrays)[1], direction)
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_latent_sde_is_trained(rng, key):
    """With a correction that is a constant its divergence is known; the same key gives the same path."""
    task = task_of(series(rng), stochastic=True)
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.train)
    silent = eqx.tree_at(lambda m: m.correction, model, replace_fn=lambda f: jax.tree.map(jnp.zeros_like, f))
    constant = eqx.tree_at(lambda m: m.correction.layers[-1].bias, silent, jnp.array([0.1, 0.0, -0.2]))

    @eqx.filter_jit
    def cross(model):
        found = task.encode(model, batch)
        return task.cross(model, kx.EulerMaruyama(1), found.mean, found.context, key).divergence

    np.testing.assert_array_equal(cross(silent), 0)
    np.testing.assert_allclose(cross(constant), (0.1**2 + 0.2**2) / (2 * 0.1**2) * 2.0, rtol=1e-5)
    trained = Trainer(task, kx.EulerMaruyama(1), Settings(train_steps=2, batch_size=4)).run(seed=0)
    assert not np.array_equal(trained.model.log_scale, task.init(jax.random.split(jax.random.key(0))[0]).log_scale)
    again = [predict(task, trained.model, trained.solver, batch).outputs for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(UserError, match="a solver is distilled for an ODE"):
        task.trajectories(model, batch)


@pytest.mark.slow
def test_a_series_that_fails_is_lost_alone(rng, key):
    """Per-sample steps: the loss is that of the others."""
    task = task_of(series(rng, n=4), max_steps=64)
    solver = kx.Adaptive(kx.tableaus.BOSH3, 1e-3, 1e-3, control="per_sample")
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.train)
    broken = batch._replace(x=batch.x.at[1, 0].set(jnp.nan), seen=jnp.ones_like(batch.seen))
    both = eqx.filter_jit(eqx.filter_value_and_grad(lambda m: task.loss(m, solver, broken, key), has_aux=True))
    (value, log), slope = both(model)
    assert list(log["status"] > 0) == [False, True, False, False]
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope.field))


@pytest.mark.slow
def test_solvers_are_distilled_on_the_way_of_each_series(rng, key):
    """One interval from where SciPy gets by then: series i at time i of the grid."""
    task = task_of(series(rng, n=4))
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.train)
    found, field = task.trajectories(model, batch), jax.jit(lambda t, z: model.field(t, z))
    start = np.asarray(task.encode(model, batch).mean)
    assert (found.t0, found.t1) == (0.0, 0.25) and found.field is model.field
    for i in (1, 3):
        slope = lambda t, z: np.asarray(field(t, jnp.asarray(z, jnp.float32)), float)
        expected = integrate.solve_ivp(slope, (0, 0.25 * i), start[i], rtol=1e-6, atol=1e-8).y[:, -1]
        np.testing.assert_allclose(found.y0[i], expected, rtol=1e-4, atol=1e-5)


def test_the_task_is_one():
    task = build("latent", samples=20, **SMALL)
    assert isinstance(task, Task) and task.interval == (0.0, 0.1) and task.intervals == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "physionet", "noise": 0.2}, "--noise changes nothing with --data physionet"),
        ({"data_dir": "x"}, "--data-dir changes nothing with --data synthetic"),
        ({"noise": 0.0}, "give observation_std"),
        ({"noise": -1.0, "observation_std": 0.1}, "noise must be >= 0"),
        ({"kl_anneal": 2.0}, r"kl_anneal must lie in \[0, 1\]"),
        ({"latent": 0}, "latent must be >= 1"),
        ({"observation_std": 0.0}, "observation_std must be > 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build("latent", **options)


TINY = (
    "--samples 40 --latent 3 --width 4 --hidden 4 --rounding 0.5 "
    "--train-steps 2 --per-dispatch 2 --evaluations 1 --batch-size 8"
)


def command(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for argument in arguments for word in str(argument).split()])
    shown = capsys.readouterr()
    assert stop.value.code in (0, 1), shown.err
    assert "Traceback" not in shown.err and not shown.err.startswith("kuttax:"), shown.err
    return shown.out


@pytest.mark.slow
def test_from_training_to_its_evaluation(tmp_path, capsys):
    out = tmp_path / "run"
    shown = command(
        capsys, "train latent --solver bosh3 --rtol 1e-3 --atol 1e-3 --penalty local-unbiased", TINY, f"--out {out}"
    )
    assert re.search(r"MSE: validation \S+", shown)
    record = json.loads((out / "record.json").read_text())
    assert record["task"] == "latent" and record["test"] > 0 and np.isfinite(record["test_loss"])
    assert (out / "reconstruction.png").stat().st_size > 0
    with np.load(out / "reconstruction.npz", allow_pickle=False) as drawn:
        assert drawn["mean"].shape == drawn["low"].shape == (3, 11, 2)
        assert (drawn["low"] <= drawn["high"]).all()
    assert "MSE" in command(capsys, f"evaluate {out} --solver rk4 --steps 1")


@pytest.mark.slow
def test_a_fit():
    task = build("latent", samples=20, rounding=1.0, **SMALL)
    settings = Settings(train_steps=2, batch_size=4, per_dispatch=2, evaluations=1)
    fitted = kx.fit(task, nfe=1, options=kx.FitOptions(warm_up=0, distill=False), settings=settings, most_nfe=1)
    assert fitted.solver.nfe == 1 and fitted.history[-1].validation.nfe == 1
