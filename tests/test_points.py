"""The data that densities are learned on: their laws, their preprocessing, and one line for every bad table."""

import gzip
import tarfile
from collections import Counter

import numpy as np
import pytest
from scipy.stats import kstest, norm
from sklearn import datasets
from sklearn.datasets import load_diabetes, load_digits

from kuttax.data.images import digits
from kuttax.data.tables import embedded as tables
from kuttax.data.tables import maf, toys
from kuttax.data.tables.own import load as load_table
from kuttax.data.tables.points import PointSource, points, standardised
from kuttax.errors import UserError
from kuttax.tasks.density.portrait import Portrait


def one_line(call, *says):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and all(str(part) in message for part in says), message


# Toys


def test_toys_have_their_laws():
    draw = lambda name: toys.load(name, 4000, 10, 10).train.x.astype(float)
    radius = np.linalg.norm(draw("8gaussians"), axis=1)
    assert abs(np.sqrt(np.mean(radius**2)) - np.sqrt(8 + 2 * 0.125)) < 0.02
    board = draw("checkerboard")
    assert kstest(board[:, 0], "uniform", (-4, 8)).pvalue > 0.01
    cells = np.floor(board / 2).astype(int)
    assert set(map(tuple, cells)) <= {(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0}
    assert len(set(map(tuple, cells))) == 8
    radius = np.linalg.norm(draw("circles"), axis=1)
    assert abs(np.median(radius[radius > 2.25]) - 3) < 0.05 and abs(np.median(radius[radius < 2.25]) - 1.5) < 0.05
    moons = draw("moons")
    upper = (moons - [-1, -0.2]) / 2
    to_either = [np.abs(np.linalg.norm(upper - centre, axis=1) - 1) for centre in ([0, 0], [1, 0.5])]
    assert np.quantile(np.minimum(*to_either), 0.99) < 0.3
    wheel = draw("pinwheel")
    radius = np.linalg.norm(wheel, axis=1) / 2
    turned = np.arctan2(-wheel[:, 1], wheel[:, 0]) - 0.25 * np.exp(radius)
    far = radius > 0.8  # where an arm is thin, its angle shows which of five it is
    assert np.mean(np.abs((turned[far] * 5 / (2 * np.pi) + 0.5) % 1 - 0.5) < 0.25) > 0.9


def test_the_seed_decides_the_toys_and_the_parts_differ():
    for name in toys.TOYS:
        first, again, other = (toys.load(name, 20, 20, 20, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.test.x, again.test.x)
        rows = np.concatenate([part.x for part in (*first, *other)])
        assert len(np.unique(rows, axis=0)) == len(rows) and rows.dtype == np.float32


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "moon"}, "unknown toy 'moon'; known: moons"),
        ({"train": 0}, "moons: train samples must be >= 1, got 0"),
        ({"seed": -1}, "moons: seed must be >= 0, got -1"),
    ],
)
def test_impossible_toys_are_refused(given, says):
    one_line(lambda: toys.load(**{"name": "moons", **given}), says)


# Digits


def test_dequantised_digits_lead_back_to_their_pixels():
    parts = digits.load_dequantised(copies=2)
    assert [len(part.x) for part in parts] == [2 * 1149, 288, 360]
    levels = (1 / (1 + np.exp(-parts.test.x.astype(float))) - 0.05) / 0.9 * 17
    kept = {tuple(row) for row in load_digits(return_X_y=True)[0].astype(int)}
    assert all(tuple(row) in kept for row in np.floor(levels + 1e-5).astype(int))
    assert kstest((levels % 1).ravel(), "uniform").pvalue > 0.01


def test_the_log_det_of_dequantised_digits_is_that_of_finite_differences():
    part = digits.load_dequantised().test
    x, h = part.x[:3].astype(float), 1e-5
    back = lambda x: (1 / (1 + np.exp(-x)) - 0.05) / 0.9 * 17  # x to k + u
    slopes = (back(x + h) - back(x - h)) / (2 * h)
    np.testing.assert_allclose(part.log_det[:3], -np.log(slopes).sum(axis=1), rtol=1e-5)


# Tables


@pytest.mark.parametrize("name", tables.TABLES)
def test_tables_are_standardised_and_continuous(name):
    parts = tables.load(name)
    seen = np.concatenate([parts.train.x, parts.validation.x]).astype(float)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(axis=0), 1, rtol=1e-5)
    alike = np.corrcoef(tables.continuous(getattr(datasets, tables.TABLES[name])(return_X_y=True)[0]), rowvar=False)
    assert np.max(alike - np.eye(len(alike))) <= 0.98
    assert not any(part.log_det.any() for part in parts)


def test_a_column_of_two_values_has_no_density():
    x = load_diabetes(return_X_y=True)[0]
    np.testing.assert_array_equal(tables.continuous(x), np.delete(x, 1, axis=1))


def test_a_constant_column_is_refused(rng):
    x = np.column_stack([rng.standard_normal(9), np.full(9, 2.0)])
    one_line(lambda: standardised("mine", x, x, x), "mine: column 2 is constant")


def write(path, text):
    path.write_text(text)
    return path


def test_a_csv_is_read_with_or_without_names(tmp_path):
    for text in ("a,b\n1,2\n3,4.5\n", "1, 2\n\n3, 4.5\n", "\ufeffa,b\n1,2\n3,4.5"):
        np.testing.assert_array_equal(load_table(write(tmp_path / "t.csv", text)).x, [[1, 2], [3, 4.5]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "a;b\n1;2\n3;4,5\n"),
        ("t.csv", "1;2\n3;4,5\n"),
        ("t.csv", "1,0;2,0\n3;4,5\n"),
        ("t.tsv", "1\t2\n3\t4.5\n"),
        ("t.txt", "# a b\n1.0 2.0\n3.0 4.5\n"),
        ("t.csv", ",a,b\n0,1,2\n1,3,4.5\n"),
        ("t.csv", "a,b,\n1,2,\n3,4.5,\n"),
    ],
    ids=["European", "no names", "decimal commas", "tab", "savetxt", "index", "a delimiter at the end"],
)
def test_tables_as_people_have_them(tmp_path, name, text):
    found = load_table(write(tmp_path / name, text))
    np.testing.assert_array_equal(found.x, [[1, 2], [3, 4.5]])
    assert found.names == (("a", "b") if "a" in text else ("column 1", "column 2"))


def test_columns_of_a_table_are_chosen(tmp_path):
    path = write(tmp_path / "t.csv", "name,a,b\nx,1,2\ny,3,4.5\n")
    found = load_table(path, ["b", "a"])
    np.testing.assert_array_equal(found.x, [[2, 1], [4.5, 3]])
    assert found.summary == "2 rows; columns b, a"
    np.testing.assert_array_equal(load_table({"a": np.array([1, 2]), "b": np.array([3.0, 4.0])}).x, [[1, 3], [2, 4]])
    one_line(lambda: load_table(path, ["c"]), "there is no column 'c'; the columns are name, a, b")
    one_line(lambda: load_table(path, ["a", "a"]), "column 'a' is given twice")
    one_line(lambda: load_table(path), "line 2: name is no number but 'x'")
    one_line(lambda: load_table(write(path, "1,2,x\n3,4,y\n")), "the first line has names and numbers")
    np.save(tmp_path / "t.npy", np.eye(3))
    one_line(lambda: load_table(tmp_path / "t.npy", ["a"]), "an array has no names of columns")


def test_a_portrait_is_in_the_units_of_the_table(rng):
    """A normal density of standardised points is that of the points, as SciPy has it."""
    source = PointSource(("height", "weight"), np.array([170.0, 65.0]), np.array([10.0, 0.5]))
    x, y = np.linspace(-5, 5, 201), np.linspace(-6, 6, 201)
    log_density = norm.logpdf(x)[None] + norm.logpdf(y)[:, None]
    points = rng.standard_normal((4, 2))
    found = Portrait(x, y, log_density, points, points).in_units(source)
    np.testing.assert_allclose(found.data, points * [10, 0.5] + [170, 65])
    expected = norm.logpdf(found.x, 170, 10)[None] + norm.logpdf(found.y, 65, 0.5)[:, None]
    np.testing.assert_allclose(found.log_density, expected, rtol=1e-9)
    assert found.names == ("height", "weight")


def test_npy_and_npz_are_read(tmp_path, rng):
    x = rng.standard_normal((4, 3)).astype(np.float32)
    np.save(tmp_path / "t.npy", x)
    np.savez(tmp_path / "t.npz", x=x)
    for name in ("t.npy", "t.npz"):
        np.testing.assert_array_equal(load_table(tmp_path / name).x, x)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no observations: give one line for each"),
        ("a,b\n", "no observations: give one line for each"),
        ("a,b\n1,2\n3\n", "line 3: the first line has 2 cells, this one 1"),
        ("1,2\n3,nan\n", "line 2: column 2 is 'nan', and may have no gaps"),
        ("1,2\n3,inf\n", "line 2: column 2 is 'inf'"),
        ("a,b\n1,2\n3,red\n", "line 3: b is no number but 'red'"),
        ("1,2\n3,\n", "line 2: column 2 is '', and may have no gaps"),
    ],
)
def test_a_bad_csv_is_one_line(tmp_path, text, says):
    path = write(tmp_path / "t.csv", text)
    one_line(lambda: load_table(path).x, path, says)


def test_bad_files_are_one_line(tmp_path):
    arrays = {"flat": np.zeros(3), "none": np.zeros((0, 2)), "text": np.array([["a"]]), "hole": np.array([[1, np.nan]])}
    says = {"flat": "(3,)", "none": "(0, 2)", "text": "expected numbers", "hole": "row 1, column 2"}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        one_line(lambda: load_table(tmp_path / f"{name}.npy").x, f"{name}.npy", says[name])  # noqa: B023
    np.savez(tmp_path / "other.npz", y=np.zeros((2, 2)))
    one_line(lambda: load_table(tmp_path / "other.npz").x, "lacks x (keys found: y)")
    np.save(tmp_path / "objects.npy", np.array([[{}]], object), allow_pickle=True)
    one_line(lambda: load_table(tmp_path / "objects.npy").x, "not a readable NPY file")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    one_line(lambda: load_table(tmp_path / "bytes.csv").x, "not a readable CSV file")
    one_line(lambda: load_table(tmp_path / "none.csv").x, "no file at")


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros(3), "expected a table of shape (n, d), got (3,)"),
        (np.zeros((2, 0)), "got (2, 0)"),
        (np.zeros((0, 2)), "without samples"),
        (np.array([["a", "b"]]), "expected numbers"),
        (np.array([[1.0, np.inf]]), "NaN or infinity in row 0"),
    ],
)
def test_what_is_no_table_is_one_line(x, says):
    one_line(lambda: points("mine", x), "mine", says)


# The five tables of Papamakarios et al., on small files of the same form


def split_by_hand(table):
    """The published one: a tenth from the end, then a tenth of the rest."""
    test = int(0.1 * len(table))
    rest, test = table[:-test], table[-test:]
    held = int(0.1 * len(rest))
    return rest[:-held], rest[-held:], test


def assert_is(parts, expected):
    seen = np.concatenate(expected[:2])
    for part, table in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part.x, (table - seen.mean(0)) / seen.std(0), atol=1e-5)


def test_power(tmp_path, rng):
    table = rng.standard_normal((60, 8))
    (tmp_path / "power").mkdir()
    np.save(tmp_path / "power" / "data.npy", table)
    state = np.random.RandomState(42)
    state.shuffle(table)
    kept = table[:, [0, 2, 4, 5, 6, 7]]
    voltage, active = 0.01 * state.rand(60, 1), 0.001 * state.rand(60, 1)  # drawn in the order of the published program
    noise = np.hstack([active, voltage, state.rand(60, 3), np.zeros((60, 1))])
    assert_is(maf.load("power", tmp_path), split_by_hand(kept + noise))
    np.save(tmp_path / "power" / "data.npy", table[:, :5])
    one_line(lambda: maf.load("power", tmp_path), "expected 8 columns, got 5")


def test_miniboone(tmp_path, rng):
    table = rng.standard_normal((50, 4))
    (tmp_path / "miniboone").mkdir()
    np.save(tmp_path / "miniboone" / "data.npy", table)
    assert_is(maf.load("miniboone", tmp_path), split_by_hand(table))


def test_gas(tmp_path, rng):
    """Columns 1 and 3 of the sensors are alike: the first of them goes. It is standardised over all rows."""
    (tmp_path / "gas").mkdir()
    one_line(lambda: maf.load("gas", tmp_path), "pickle", "to_csv")
    sensors = rng.standard_normal((40, 3))
    sensors = np.column_stack([sensors, sensors[:, 1] + 0.01 * rng.standard_normal(40)])
    rows = np.column_stack([np.arange(40), np.zeros((40, 2)), sensors])
    text = "Time,Meth,Eth,a,b,c,d\n" + "\n".join(",".join(map(repr, map(float, row))) for row in rows)
    write(tmp_path / "gas" / "ethylene_CO.csv", text)
    kept = sensors[:, [0, 2, 3]]
    expected = split_by_hand((kept - kept.mean(0)) / kept.std(0, ddof=1))
    for part, table in zip(maf.load("gas", tmp_path), expected, strict=True):
        np.testing.assert_allclose(part.x, table, atol=1e-5)
    write(tmp_path / "gas" / "ethylene_CO.csv", "a,b\n1,2\n")
    one_line(lambda: maf.load("gas", tmp_path), "lacks the column Time")


def test_hepmass(tmp_path, rng):
    """Class 1 alone; the test file has a column more; a column whose least value recurs is left out."""
    (tmp_path / "hepmass").mkdir()
    train, test = rng.standard_normal((2, 80, 4))
    for part in (train, test):
        part[:, 0] = rng.integers(0, 2, 80)
        part[:, 2] = np.where(rng.random(80) < 0.5, -9.0, part[:, 2])
    for name, part, head in (("train", train, "label,a,b,c"), ("test", test, "label,a,b,c,mass")):
        more = [[1.5]] * 80 if name == "test" else [[]] * 80
        lines = [",".join(map(repr, map(float, [*row, *end]))) for row, end in zip(part, more, strict=True)]
        write(tmp_path / "hepmass" / f"1000_{name}.csv", "\n".join([head, *lines]))
    train, test = (part[part[:, 0] == 1][:, 1:] for part in (train, test))
    counts = [Counter(column) for column in train.T]
    kept = [i for i, count in enumerate(counts) if count[min(count)] <= 5]
    assert kept == [0, 2]
    held = int(0.1 * len(train))
    assert_is(maf.load("hepmass", tmp_path), (train[:-held, kept], train[-held:, kept], test[:, kept]))
    write(tmp_path / "hepmass" / "1000_test.csv", "label,a,b,c,mass\n1,2,x,4,5\n")
    one_line(lambda: maf.load("hepmass", tmp_path), "1000_test.csv: not the archive's CSV file")


def test_bsds300_says_what_is_missing(tmp_path):
    one_line(lambda: maf.load("bsds300", tmp_path), "BSDS300.hdf5: no such file")
    (tmp_path / "BSDS300").mkdir()
    (tmp_path / "BSDS300" / "BSDS300.hdf5").write_bytes(b"no")
    one_line(lambda: maf.load("bsds300", tmp_path), "HDF5")
    one_line(lambda: maf.load("cifar", tmp_path), "unknown set 'cifar'; known: power, gas")


def test_the_archive_is_downloaded_with_its_checksum_and_unpacked_once(tmp_path, rng, monkeypatch):
    (tmp_path / "data" / "miniboone").mkdir(parents=True)
    np.save(tmp_path / "data" / "miniboone" / "data.npy", rng.standard_normal((50, 3)))
    with tarfile.open(tmp_path / "maf.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data", "data")
    asked = []

    def download(url, checksum, name, directory, instead):
        asked.append((url, checksum))
        return tmp_path / name

    monkeypatch.setattr(maf, "download", download)
    monkeypatch.setattr(maf, "cache", lambda: tmp_path / "kuttax")
    first, again = maf.load("miniboone"), maf.load("miniboone")
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert asked == [(maf.URL, f"md5:{maf.MD5}")] and len(maf.MD5) == 32
    one_line(lambda: maf.load("power"), "cannot unpack data/power/data.npy")
    (tmp_path / "maf.tar.gz").write_bytes(gzip.compress(b"no archive"))
    one_line(lambda: maf.load("power"), "cannot unpack")


def test_another_archive_than_the_first_is_refused(tmp_path, rng, monkeypatch):
    """Its MD5, which `download` has compared, may be the same."""
    (tmp_path / "data" / "miniboone").mkdir(parents=True)

    def download(url, checksum, name, directory, instead):
        np.save(tmp_path / "data" / "miniboone" / "data.npy", rng.standard_normal((50, 3)))
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(tmp_path / "data", "data")
        return tmp_path / name

    monkeypatch.setattr(maf, "download", download)
    monkeypatch.setattr(maf, "cache", lambda: tmp_path / "kuttax")
    maf.load("miniboone")
    unpacked = tmp_path / "kuttax" / "maf" / "miniboone" / "data.npy"
    content = unpacked.read_bytes()
    unpacked.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    one_line(lambda: maf.load("miniboone"), "data.npy is damaged or another file")
    unpacked.unlink()
    one_line(lambda: maf.load("miniboone"), "maf.tar.gz is damaged or another file")
