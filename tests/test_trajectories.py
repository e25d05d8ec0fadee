"""Trajectories: generated ones against other solvers, files, what is refused, splits, windows and their clocks."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from kuttax.data.files.summary import is_regular
from kuttax.data.systems import kuramoto_sivashinsky as ks
from kuttax.data.systems import systems, trajectory_files
from kuttax.data.systems.trajectory import Trajectory, check_trajectories
from kuttax.data.systems.windows import Scaling, split_trajectories, windows, with_noise
from kuttax.errors import UserError

# The systems once more, as their papers have them, one state at a time.
EQUATIONS = {
    "lorenz63": lambda t, s: [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 * s[2] / 3],
    "lorenz96": lambda t, s: [(s[(i + 1) % 40] - s[i - 2]) * s[i - 1] - s[i] + 8 for i in range(40)],
    "lotka-volterra": lambda t, s: [s[0] * (1.5 - s[1]), s[1] * (s[0] - 3)],
    "pendulum": lambda t, s: [s[1], -9.81 * np.sin(s[0]) - 0.3 * s[1]],
    "van-der-pol": lambda t, s: [s[1], 2 * (1 - s[0] ** 2) * s[1] - s[0]],
}


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("irregular", [0.0, 0.8])
def test_generated_trajectories_solve_their_equations(name, irregular):
    first, second = systems.generate(name, trajectories=2, samples=6, irregular=irregular, seed=3)
    assert np.all(np.diff(second.t) > 0) and second.t[0] == 0
    assert is_regular([first.t, second.t]) == (irregular == 0)
    times = second.t - second.t[0]
    other = solve_ivp(EQUATIONS[name], (0, times[-1]), second.x[0], "LSODA", times, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(second.x, other.y.T, rtol=1e-7, atol=1e-7)
    assert not np.allclose(first.x[0], second.x[0])


@pytest.mark.parametrize("irregular", [0.0, 0.8])
def test_kuramoto_sivashinsky_solves_its_equation(irregular):
    """Against an implicit solver of the same equation in physical space, with matrices as derivatives."""
    one = systems.generate("kuramoto-sivashinsky", trajectories=2, samples=3, irregular=irregular, seed=1)[1]
    k = 2j * np.pi / ks.LENGTH * np.fft.fftfreq(64, 1 / 64)
    of = lambda symbol: np.fft.ifft(symbol[:, None] * np.fft.fft(np.eye(64), axis=0), axis=0).real
    k1 = np.where(np.arange(64) == 32, 0, k)  # an odd derivative of the highest mode of a real function is zero
    first, linear = of(k1), -of(k**2) - of(k**4)
    other = solve_ivp(
        lambda t, u: linear @ u - first @ (u**2) / 2, (0, one.t[-1]), one.x[0], "Radau", one.t, rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(one.x, other.y.T, atol=2e-7)
    np.testing.assert_allclose(one.x.mean(axis=1), 0, atol=1e-12)


def test_the_attractor_of_lorenz63_has_its_statistics():
    """Means and standard deviations as published for the standard parameters, to the precision of this sample."""
    x = np.concatenate([one.x for one in systems.generate("lorenz63", trajectories=20, samples=201)])
    np.testing.assert_allclose(x.mean(axis=0), [0, 0, 23.55], atol=1.5)
    np.testing.assert_allclose(x.std(axis=0), [7.92, 9.01, 8.62], rtol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "lorenz"}, "unknown system 'lorenz'; known: lorenz63, lorenz96"),
        ({"samples": 1}, "samples must be >= 2, got 1"),
        ({"trajectories": 0}, "trajectories must be >= 1, got 0"),
        ({"interval": 0.0}, "must be a number > 0, got 0"),
        ({"irregular": 1.0}, r"irregular must lie in \[0, 1\), got 1.0"),
    ],
)
def test_systems_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        systems.generate(**{"name": "lorenz63", **options})


def test_noise_has_its_size():
    clean = systems.generate("pendulum", trajectories=40)
    noisy = with_noise(clean, 0.1, 0)
    added = np.concatenate([b.x - a.x for a, b in zip(clean, noisy, strict=True)])
    spread = np.concatenate([one.x for one in clean]).std(axis=0)
    np.testing.assert_allclose(added.std(axis=0), 0.1 * spread, rtol=0.05)
    np.testing.assert_allclose(added.mean(axis=0), 0, atol=0.01)


# Files

GOOD = "trajectory,t,x1,x2,u1\na,0.0,1,2,5\nb,0.0,7,8,5\na,0.5,3,4,6\nb,0.25,9,10,6\n"


def test_csv_is_read_whatever_the_order(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    first, second = trajectory_files.load(path).trajectories
    np.testing.assert_array_equal(first.t, [0, 0.5])
    np.testing.assert_array_equal(first.x, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(second.x, [[7, 8], [9, 10]])
    np.testing.assert_array_equal(second.u, [[5], [6]])


def test_npz_of_every_layout(tmp_path, rng):
    path = tmp_path / "data.npz"
    x, u, t = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 1)), np.arange(5.0)
    layouts = [
        {"t": t, "x": x, "u": u},
        {"t": np.stack([t, t]), "x": x, "u": u},
        {
            "t": np.tile(t, 2),
            "x": x.reshape(10, 3),
            "u": u.reshape(10, 1),
            "trajectory": np.repeat([4, 2], 5),
        },
    ]
    for arrays in layouts:
        np.savez(path, **arrays)
        for found, states, controls in zip(trajectory_files.load(path).trajectories, x, u, strict=True):
            np.testing.assert_array_equal(found.t, t)
            np.testing.assert_array_equal(found.x, states)
            np.testing.assert_array_equal(found.u, controls)
    np.savez(path, t=t, x=x[0])
    (found,) = trajectory_files.load(path).trajectories
    assert found.u.shape == (5, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,x1\n0,1\n2,3\n1,4\n", "times must increase strictly, but 1 comes after 2: sort the rows"),
        ("t,x1\n0,1\n1,3\n1,4\n", "times must increase strictly, but 1 is there twice: sort the rows"),
        ("t,x1\n0,1\n1,inf\n", "line 3: x1 is 'inf'"),
        ("t,x1\n0,\n1,nan\n", "state x1 is never observed"),
        ("t,x1,u1\n0,1,\n1,1,2\n", "line 2: u1 is '', and may have no gaps"),
        ("t,x1\n0,1\ninf,2\n", "line 3: t is 'inf'"),
        ("t,x1\n0,1\n", "one row shows no motion"),
        ("t,x1\n", "no observations"),
        ("t,x1\n0,1\n1\n", "line 3: the first line has 2 cells, this one 1"),
        ("t,x1\n0,1\n1,a\n", "line 3: x1 is no number but 'a'"),
        ("0,1\n1,2\n", "no names above the numbers"),
        ("t,x1,x1\n0,1,1\n", "column 'x1' is there twice"),
        ("t,x2\n0,1\n", "column 'x1' is missing"),
        ("x1\n0\n", "no column of times among x1"),
        ("trajectory,t,x1\na,0,1\na,1,2\nb,0,1\n", "trajectory b: one row shows no motion"),
    ],
)
def test_bad_csv_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        trajectory_files.load(path)
    assert message in str(error.value) and "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": np.arange(3.0), "x": np.zeros((4, 2))}, "t has shape (3,), which does not go with x (4, 2)"),
        ({"t": np.arange(4.0), "x": np.zeros(4)}, "x has shape (4,), expected (rows, d)"),
        ({"t": np.arange(4.0), "x": np.zeros((4, 2)), "u": np.zeros((3, 1))}, "u has shape (3, 1)"),
        ({"t": np.arange(4.0), "x": np.zeros((4, 2)), "u": np.zeros(4)}, "u has shape (4,)"),
        ({"t": np.arange(4.0), "x": np.zeros((4, 2)), "trajectory": np.zeros(3)}, "trajectory has shape (3,)"),
        ({"t": np.arange(4.0), "x": np.zeros((4, 0))}, "there are no states"),
        ({"t": np.arange(4.0), "x": np.zeros((4, 2)) + 1j}, "x has dtype complex128"),
        ({"t": np.arange(4.0)}, "lacks x"),
    ],
)
def test_bad_npz_is_refused_in_one_line(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError) as error:
        trajectory_files.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"), [("data.doc", "from .csv, .tsv, .txt, .parquet and .npz files"), ("none.csv", "no file at")]
)
def test_files_that_are_none(tmp_path, name, message):
    (tmp_path / "data.doc").write_text(GOOD)
    with pytest.raises(UserError, match=message):
        trajectory_files.load(tmp_path / name)


def test_ragged_trajectories_are_refused():
    def one(d, k=0):
        return Trajectory(np.arange(3.0), np.zeros((3, d)), np.zeros((3, k)))

    for other, message in ((one(3), "3 states a row, but 2 in first"), (one(2, 1), "1 control inputs a row, but 0")):
        with pytest.raises(UserError, match=message):
            check_trajectories([one(2), other], ["first", "second"])
    with pytest.raises(UserError, match="no trajectories"):
        check_trajectories([], [])


# Splits and windows


def labelled(n, rows=20):
    """Trajectories whose states say which one and when: no two entries are alike."""
    t = np.arange(rows, dtype=float)
    return [Trajectory(t, (1000 * i + t)[:, None], np.zeros((rows, 0))) for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_parts_share_no_observation_and_lose_none(n):
    parts = split_trajectories(labelled(n), 0.2, seed=0)
    seen = [np.concatenate([one.x[:, 0] for one in part]) for part in parts]
    assert len(np.unique(np.concatenate(seen))) == sum(map(len, seen)) == 20 * n
    assert all(len(part) for part in seen)
    if n < 3:  # the test is the future
        assert all(a.t[-1] < b.t[0] < c.t[0] for a, b, c in zip(*parts, strict=True))


def test_splits_that_cannot_be():
    with pytest.raises(UserError, match=r"held_out must lie in \(0, 0.5\), got 0.5"):
        split_trajectories(labelled(3), 0.5, 0)
    with pytest.raises(UserError, match="5 rows are too few"):
        split_trajectories(labelled(1, rows=5), 0.2, 0)


def test_windows_are_the_pieces_they_should_be():
    trajectories = [*labelled(2, rows=7), *labelled(1, rows=3)]  # the last one is too short
    scaling = Scaling.of(trajectories)
    found = windows(trajectories, scaling, 3, 2, plain=True, part="test")
    starts = [0, 2, 1000, 1002]
    expected = np.array(starts)[:, None] + np.arange(4)
    np.testing.assert_allclose(found.z[..., 0] * scaling.std[0] + scaling.mean[0], expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(found.number, np.arange(4))
    assert found.z.dtype == np.float32 and found.course is None
    with pytest.raises(UserError, match="a test window of 9 intervals needs 10 rows, but the longest test trajectory"):
        windows(trajectories, scaling, 9, 1, plain=True, part="test")


def test_scaling_is_that_of_the_training_data(rng):
    x = np.cumsum(rng.standard_normal((50, 2)), axis=0) * [1, 100]
    x = np.concatenate([x, np.full((50, 1), 3.0)], axis=1)
    one = Trajectory(0.1 * np.arange(50), x, np.zeros((50, 0)))
    scaling = Scaling.of([one])
    z = scaling.standardised(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(scaling.speed[:2], np.sqrt(np.mean(np.diff(z[:, :2], axis=0) ** 2, axis=0)))
    assert scaling.interval == pytest.approx(0.1) and scaling.speed[2] == 1.0


def test_intervals_and_what_drives_them(rng):
    t = np.cumsum(rng.uniform(0.2, 1.8, 9))
    one = Trajectory(t, rng.standard_normal((9, 1)), rng.standard_normal((9, 2)))
    scaling = Scaling.of([one])
    course = windows([one], scaling, 4, 4, plain=False, part="test").course
    np.testing.assert_allclose(scaling.interval * course.gap, np.diff(t).reshape(2, 4), rtol=1e-6)
    np.testing.assert_allclose(course.u.reshape(8, 2), ((one.u - one.u.mean(0)) / one.u.std(0))[:-1], rtol=1e-5)
    np.testing.assert_array_equal(course.u[:, 1:], course.u_next[:, :-1])
