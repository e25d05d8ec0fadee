"""PhysioNet 2012: two days in intensive care, up to 41 measurements at irregular times.

The PhysioNet/Computing in Cardiology Challenge 2012 (Silva, Moody, Scott, Celi & Mark, Computing in Cardiology 2012),
set A: 4,000 stays. Features, rounding of the times and scaling are those of Rubanova, Chen & Duvenaud (Latent ODEs,
NeurIPS 2019).
"""

import csv
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...errors import UnverifiedWarning, UserError
from ...io import manifest
from ..files import archive
from ..files.download import cache, download
from ..files.numbers import TOO_LARGE, fits, number
from .series import Observed

URL = "https://physionet.org/files/challenge-2012/1.0.0/set-a.tar.gz"
SHA256 = "8cb250f179cd0952b4b9ebcf8954b63d70383131670fac1cfee13deaa13ca920"
FOLDER, ARCHIVE = "set-a", "set-a.tar.gz"
_MOST_UNPACKED = 1 << 28
"""Limit on the bytes of the unpacked archive, which has about 30 million."""
HOURS = 48.0
"""The time span."""
ROUNDING = 0.1
"""Rounding of the times, in hours."""
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")
"""Descriptors of a patient on admission, at time 0; the weight is also measured later."""
# fmt: off
MEASUREMENTS = (
    "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP",
    "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC",
)
# fmt: on
NAMES = (*DESCRIPTORS, *MEASUREMENTS)
_PLACE = {name: i for i, name in enumerate(NAMES)}
_HEADER = ["Time", "Parameter", "Value"]
_SKIPPED = ("", "RecordID")
_UNKNOWN = -1.0  # value of an unknown descriptor
_TIMES = {f"{minute // 60:02}:{minute % 60:02}": minute / 60 for minute in range(60 * int(HOURS) + 1)}


def load(data_dir: str | Path | None = None) -> Iterator[Observed]:
    """The stays of set A one after another, times in hours; downloaded once into the user's cache, or from a directory.

    Args:
        data_dir: A directory with the files of set A (RECORD.txt), the folder `set-a`, or an archive whose name has
            `set-a` and ends in `.tar.gz`; the first of these that exists is read. None downloads the archive and checks
            its SHA-256.

    Warns:
        UnverifiedWarning: An archive in the directory is not the one of physionet.org.

    Raises:
        UserError: The directory has no such file, a file is not in the format, or the download fails.
    """
    if data_dir is None:
        instead = "or give a data directory with set-a"
        return _from_archive(download(URL, f"sha256:{SHA256}", ARCHIVE, cache(), instead))
    directory = Path(data_dir).expanduser()
    for folder in (directory, directory / FOLDER):
        files = sorted(folder.glob("*.txt"), key=lambda path: path.name)
        files = [path for path in files if not path.name.startswith("Outcomes")]
        if files:
            return (parse(path.read_bytes(), str(path)) for path in files)
    found = sorted(directory.glob(f"*{FOLDER}*.tar.gz"), key=lambda path: (path.name != ARCHIVE, path.name))
    if found:
        return _verified(found[0])
    raise UserError(f"{directory} holds no RECORD.txt, no {FOLDER}/ and no {ARCHIVE}: leave it out to download them")


def _verified(path: Path) -> Iterator[Observed]:
    """The stays of an archive; at its end, whether it is the official one."""
    digest, number = manifest.digest(path), 0
    for one in _from_archive(path):
        number += 1
        yield one
    if digest != SHA256:
        warnings.warn(
            f"{path} holds {number:,} stays and is not the archive of physionet.org, which has 4,000: its SHA-256 is "
            f"{digest}",
            UnverifiedWarning,
            stacklevel=2,
        )


def _from_archive(path: Path) -> Iterator[Observed]:
    for name, file in archive.files(path, _MOST_UNPACKED):
        if name.endswith(".txt"):
            yield parse(file.read(), f"{path}: {name}")


def parse(content: bytes, name: str) -> Observed:
    """One stay from a file: a line `Time,Parameter,Value`, then lines such as `07:33,HR,91`, times as hh:mm.

    A line without a parameter, of which set A has a few, is skipped; so are the record's number, and descriptors of -1
    (unknown). Several values of one parameter at one time are all kept, each in its own row.

    Args:
        content: The contents of the file.
        name: The file's name in messages.

    Raises:
        UserError: It is not in the format; the message names the line.
    """
    quick = _by_columns(content)
    if quick is not None:
        return quick
    try:
        lines = list(csv.reader(io.StringIO(content.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: no readable text ({error}); fetch it again") from error
    if not lines or lines[0] != _HEADER:
        raise UserError(f"{name}: the first line is not {','.join(_HEADER)}: give a file of PhysioNet's challenge 2012")
    readings = np.array(list(_readings(lines[1:], name)), float).reshape(-1, 3)
    return _series(readings[:, 0], readings[:, 1].astype(int), readings[:, 2])


def _by_columns(content: bytes) -> Observed | None:
    """A file without faults, quickly; None for any other, which is read line by line to say where the fault is."""
    try:
        header, *lines = content.decode("ascii").splitlines()
        cells = [cell for cell in (line.split(",") for line in lines if line) if cell[1] not in _SKIPPED]
        times, names, values = zip(*cells, strict=True) if cells else ((), (), ())
        t = np.array([_TIMES[time] for time in times], float)
        place = np.array([_PLACE[name] for name in names], int)
        if header != ",".join(_HEADER) or any('"' in value or "_" in value for value in values):
            return None
        value = np.array(values, float)
    except (ValueError, KeyError, IndexError):
        return None
    if not np.all(fits(value)):
        return None
    known = (place >= len(DESCRIPTORS)) | (value != _UNKNOWN)
    return _series(t[known], place[known], value[known])


def _readings(lines: Iterable[list[str]], name: str) -> Iterator[tuple[float, int, float]]:
    """Time in hours, index of the feature, and value."""
    for i, line in enumerate(lines, start=2):
        where = f"{name}, line {i}"
        if not line:
            continue
        if len(line) != len(_HEADER):
            raise UserError(f"{where}: expected time, parameter and value, got {','.join(line)!r}; mend the line")
        time, parameter, value = line
        if parameter in _SKIPPED:
            continue
        if parameter not in _PLACE:
            raise UserError(f"{where}: unknown parameter {parameter!r}; remove the line")
        reading = _value(value, where)
        if not (parameter in DESCRIPTORS and reading == _UNKNOWN):
            yield _hours(time, where), _PLACE[parameter], reading


def _hours(text: str, where: str) -> float:
    hours, colon, minutes = text.partition(":")
    digits = all(part.isdecimal() and part.isascii() and len(part) <= 2 for part in (hours, minutes))
    if not (colon and digits and int(minutes) < 60):
        raise UserError(f"{where}: expected a time as hh:mm, got {text!r}; mend the line")
    time = (60 * int(hours) + int(minutes)) / 60
    if time > HOURS:
        raise UserError(f"{where}: {text} is after the {HOURS:g} hours of the challenge; remove the line")
    return time


def _value(text: str, where: str) -> float:
    value = number(text)
    if value is None or not np.isfinite(value):
        raise UserError(f"{where}: expected a finite number, got {text!r}; mend or remove the line")
    if not fits(value):
        raise UserError(f"{where}: {text} {TOO_LARGE}; mend or remove the line")
    return value


def _series(t: np.ndarray, place: np.ndarray, value: np.ndarray) -> Observed:
    """The series with one row for each reading."""
    rows = np.arange(len(t))
    x, mask = np.zeros((len(t), len(NAMES))), np.zeros((len(t), len(NAMES)), bool)
    x[rows, place], mask[rows, place] = value, True
    return Observed(t, x, mask)
