"""POWER, GAS, HEPMASS, MINIBOONE and BSDS300: the standard tables for comparing density estimators.

The versions that Papamakarios, Pavlakou & Murray (Masked Autoregressive Flow, NeurIPS 2017, arXiv 1705.07057, appendix
D) prepared and published (Zenodo, doi 10.5281/zenodo.1161203). Columns are standardised, and log-densities are of the
standardised columns. Splits, noise and the choice of columns are theirs.
"""

import csv
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...io.atomic import replacing
from ...io.folder import Folder
from ..files import archive
from ..files.download import cache, download
from ..files.numbers import TOO_LARGE, fits
from .embedded import uncorrelated
from .own import load as load_table
from .points import PointSplits, points, standardised

URL = "https://zenodo.org/records/1161203/files/data.tar.gz"
MD5 = "9b9c9b0375315ad270eba4ce80c093ab"
"""Zenodo's own checksum of the archive (857 MB)."""

MafTable = Float[np.ndarray, "n d"]
_INSTEAD = "or give a data directory with the unpacked archive"
_MOST_UNPACKED = 1 << 34  # bytes; a file of them is written to the disk piece by piece
_MOST_IN_MEMORY = 1 << 32  # bytes of a part of BSDS300, of which the largest has half a billion
_MOST_OFTEN = 5  # times that the least value of a column may occur, or it is taken for discrete


def load(name: str, data_dir: str | Path | None = None) -> PointSplits:
    """Loads one of the five from a directory, or downloads their archive once into the user's cache.

    Args:
        name: One of `SETS`.
        data_dir: The archive's folder `data`, or one like it: `power/data.npy`, `gas/ethylene_CO.csv`,
            `hepmass/1000_train.csv` and `1000_test.csv`, `miniboone/data.npy`, `BSDS300/BSDS300.hdf5`. None downloads.

    Raises:
        UserError: If there is no such set, a file is missing or not what it should be, the download fails, or h5py is
            needed (BSDS300) and missing. GAS comes as a Python pickle, which is never opened: the message says how to
            make a CSV file of it.
    """
    if name not in SETS:
        raise UserError(f"unknown set {name!r}; known: {', '.join(SETS)}")
    return SETS[name](lambda member: _file(member, data_dir))


def _file(member: str, data_dir: str | Path | None) -> Path:
    """The file of that name in the directory or, unpacked, in the cache."""
    if data_dir is not None:
        path = Path(data_dir).expanduser() / member
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the unpacked archive of {URL} as data directory")
        return path
    unpacked = Folder(cache() / "maf", "download")
    path = unpacked.path / member
    if not unpacked.check(member, f"delete {path}, and it is unpacked again"):
        found = download(URL, f"md5:{MD5}", "maf.tar.gz", cache(), _INSTEAD)
        _pin(found, member)
        path.unlink(missing_ok=True)  # of an earlier version, which noted no SHA-256
        with unpacked.writing(member):
            unpack(found, member, path)
    return path


def _pin(path: Path, member: str) -> None:
    """Compare the SHA-256 of the archive with that of the first download; the first time, save it beside the archive.

    Zenodo states only an MD5, for which another archive could be made. So the first download is trusted, and every
    later one must be the same.

    Raises:
        UserError: The archive is a different one.
    """
    cache = Folder(path.parent, "download")
    if not cache.check(path.name, f"delete it and try again: kuttax cannot unpack data/{member} from it"):
        cache.seal(path.name)


def unpack(path: Path, member: str, target: Path) -> None:
    """Writes the file `data/MEMBER` of the archive at `path` to `target`.

    Raises:
        UserError: If the archive is damaged or has no such file.
    """
    try:
        for name, file in archive.files(path, _MOST_UNPACKED):
            if name == f"data/{member}":
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as partial, partial.open("wb") as out:
                    shutil.copyfileobj(file, out)
                return
    except UserError as error:
        raise UserError(f"cannot unpack data/{member}: {error}") from error
    raise UserError(f"{path}: cannot unpack data/{member} (there is none in it); delete it and try again")


def _power(file: Callable[[str], Path]) -> PointSplits:
    """Household power, six columns: two that follow from others are left out, uniform noise fills the rounding."""
    path = file("power/data.npy")
    table = load_table(path).x
    if table.shape[1] != 8:
        raise UserError(f"{path}: expected 8 columns, got {table.shape[1]}; fetch it again")
    rng = np.random.RandomState(42)  # the published split
    rng.shuffle(table)
    table = np.delete(table, [1, 3], axis=1)
    voltage = 0.01 * rng.rand(len(table), 1)
    power = 0.001 * rng.rand(len(table), 1)
    meters = rng.rand(len(table), 3)
    noise = np.hstack([power, voltage, meters, np.zeros((len(table), 1))])
    return standardised("power", *_parts(table + noise)).splits


def _gas(file: Callable[[str], Path]) -> PointSplits:
    """Gas sensors, eight columns: without time, the two concentrations, and sensors that correlate above 0.98."""
    try:
        path = file("gas/ethylene_CO.csv")
    except UserError as error:
        raise UserError(
            "gas: the archive has it only as a Python pickle, which kuttax does not open; make gas/ethylene_CO.csv in "
            "a data directory, once: pandas.read_pickle('ethylene_CO.pickle').to_csv('ethylene_CO.csv', index=False)"
        ) from error
    names, table = _csv(path)
    missing = [name for name in ("Time", "Meth", "Eth") if name not in names]
    if missing:
        raise UserError(f"{path}: lacks the column {missing[0]}; write it again from ethylene_CO.pickle")
    table = table[:, [i for i, name in enumerate(names) if name not in ("Time", "Meth", "Eth")]]
    table = table[:, uncorrelated(table)]
    table = (table - table.mean(axis=0)) / table.std(axis=0, ddof=1)  # over all rows, unlike the others
    return PointSplits(*(points("gas", part) for part in _parts(table)))


def _hepmass(file: Callable[[str], Path]) -> PointSplits:
    """Particle collisions, the signal alone, 21 columns: those with a value that recurs are left out."""
    names, train = _csv(file("hepmass/1000_train.csv"))
    _, test = _csv(file("hepmass/1000_test.csv"), len(names))  # it has a column more at its end
    train, test = (part[part[:, 0] == 1, 1:] for part in (train, test))
    if not (len(train) and len(test)):
        raise UserError("hepmass: no rows of class 1; give the archive's files")
    kept = recurring_left_out(train)
    train, validation = _without_last_tenth(train[:, kept])
    return standardised("hepmass", train, validation, test[:, kept]).splits


def _miniboone(file: Callable[[str], Path]) -> PointSplits:
    """Neutrinos, 43 columns; the archive has outliers and recurring values taken out."""
    return standardised("miniboone", *_parts(load_table(file("miniboone/data.npy")).x)).splits


def _bsds300(file: Callable[[str], Path]) -> PointSplits:
    """Patches of natural images, 63 columns, prepared and split in the archive."""
    path = file("BSDS300/BSDS300.hdf5")
    try:
        h5py = importlib.import_module("h5py")
    except ModuleNotFoundError:
        raise UserError("bsds300 is an HDF5 file and h5py is not installed: pip install h5py") from None
    try:
        with h5py.File(path, "r") as found:
            for part in PointSplits._fields:
                if found[part].nbytes > _MOST_IN_MEMORY:
                    raise ValueError(f"{part} states {found[part].nbytes} bytes")
            parts = [np.asarray(found[part]) for part in PointSplits._fields]
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(f"{path}: not the archive's HDF5 file ({error}); fetch it again") from error
    return PointSplits(*(points("bsds300", part) for part in parts))


def recurring_left_out(table: MafTable) -> list[int]:
    """The columns whose least value occurs at most five times; a value that recurs more often has no density."""
    return [i for i, column in enumerate(table.T) if np.sum(column == column.min()) <= _MOST_OFTEN]


def _parts(table: MafTable) -> tuple[MafTable, MafTable, MafTable]:
    """The last tenth as test data, the last tenth of the rest as validation data."""
    rest, test = _without_last_tenth(table)
    return (*_without_last_tenth(rest), test)


def _without_last_tenth(table: MafTable) -> tuple[MafTable, MafTable]:
    cut = len(table) - int(0.1 * len(table))
    return table[:cut], table[cut:]


def _csv(path: Path, columns: int | None = None) -> tuple[list[str], MafTable]:
    """Names and numbers of the first columns, by default of all that have a name."""
    try:
        with path.open(newline="") as file:
            names = next(csv.reader(file))[:columns]
            table = np.loadtxt(file, delimiter=",", usecols=range(len(names)), ndmin=2)
    except (OSError, StopIteration, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not the archive's CSV file ({reason}); fetch it again") from error
    large = np.argwhere(np.isfinite(table) & ~fits(table))
    if large.size:
        row, column = large[0]
        raise UserError(f"{path}: line {row + 2}: {table[row, column]:g} {TOO_LARGE}; fetch it again")
    return [name.strip() for name in names], table


SETS: dict[str, Callable[[Callable[[str], Path]], PointSplits]] = {
    "power": _power,
    "gas": _gas,
    "hepmass": _hepmass,
    "miniboone": _miniboone,
    "bsds300": _bsds300,
}
"""Name -> function that makes the three parts from its files."""
