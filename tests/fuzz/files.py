"""Damaged files: a command that reads one says so in one line that names it, or does what it does without the damage.

What kuttax wrote itself must be noticed or make no difference. What a user brings (tables, images, archives) carries no
digest: another number in it is another number, but no traceback and no NaN.
"""

import functools
import gzip
import io
import json
import re
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from kuttax.data.images import mnist

from . import runs
from .invoke import Ended, invoke
from .outcome import Outcome

Damage = Callable[[bytes, np.random.Generator], bytes]

_OWN = (".json", ".jsonl", ".eqx", ".ckpt", ".lock")
_STOPPED = (*runs.QUICK, *runs.TINY["digits"], "--solver", "midpoint", "--steps", "2", "--train-steps", "4")
_STOPPED = ("train", "digits", *_STOPPED, "--per-dispatch", "1", "--checkpoint-seconds", "0", "--out", "stopped")


@dataclass(frozen=True)
class Reader:
    """A command that reads files.

    Attributes:
        arguments: The command.
        make: Makes what it reads in a folder.
        files: Which files are damaged, as a pattern below that folder.
        results: Files that the command writes, and that must be the same; beside what it prints.
        own: Whether kuttax wrote the files.
    """

    arguments: tuple[str, ...]
    make: Callable[[Path], Any]
    files: str
    results: tuple[str, ...] = ()
    own: bool = True

    def found(self, folder: Path) -> list[Path]:
        """The files that can be damaged."""
        files = [path for path in sorted(folder.glob(self.files)) if path.is_file()]
        return [path for path in files if not self.own or path.suffix in _OWN]

    def result(self, ended: Ended, folder: Path) -> tuple[Any, ...]:
        """What the command comes to, without its times."""
        said = re.sub(r"[\d.e+-]+ (ms|s)\b", "", ended.out)
        return (ended.code, said, *((folder / name).read_bytes() for name in self.results if ended.code == 0))


def _copy(name: str) -> Callable[[Path], Path]:
    return lambda folder: runs.copied(name, folder)


@functools.cache
def _stopped() -> Path:
    """A run that was stopped after its last training step, with its checkpoints."""
    folder = runs.library() / "of a stopped run"
    folder.mkdir()
    with mock.patch("kuttax.commands.train.recorded", side_effect=KeyboardInterrupt):
        ended = invoke(_STOPPED, folder)
    assert ended.code == 130 and list((folder / "stopped").rglob("*.ckpt")), ended
    return folder / "stopped"


def _write_mnist(folder: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {"train": 120, "test": 20}
    arrays = {}
    for part, count in parts.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    (folder / "npz").mkdir()
    np.savez_compressed(folder / "npz" / "mnist.npz", **arrays)
    for zipped in ("idx", "gz"):
        (folder / zipped).mkdir()
        for name, array in zip(mnist.IDX_NAMES, arrays.values(), strict=True):
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            path = folder / zipped / (f"{name}.gz" if zipped == "gz" else name)
            path.write_bytes(gzip.compress(content) if zipped == "gz" else content)


def _write_physionet(folder: Path) -> None:
    head = "Time,Parameter,Value\n00:00,RecordID,{n}\n00:00,Age,54\n00:00,Gender,0\n00:00,Height,-1\n00:00,ICUType,4\n"
    with tarfile.open(folder / "set-a.tar.gz", "w:gz") as archive:
        for n in range(40):
            lines = "".join(f"{hour:02}:{7 * n % 60:02},HR,{60 + n + hour}\n" for hour in range(0, 40, 4))
            content = (head.format(n=132539 + n) + lines).encode()
            about = tarfile.TarInfo(f"set-a/{132539 + n}.txt")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def _train(task: str, *options: str) -> tuple[str, ...]:
    return ("train", task, *runs.QUICK, "--width", "4", "--solver", "midpoint", "--steps", "1", *options)


READERS = {
    "classifier": Reader(("evaluate", "classifier"), _copy("classifier"), "classifier/*"),
    "learned": Reader(("evaluate", "learned"), _copy("learned"), "learned/*"),
    "forecast": Reader(("evaluate", "forecast"), _copy("forecast"), "forecast/*"),
    "comparison": Reader(("report", "comparison"), _copy("comparison"), "comparison/**/*", ("comparison/table.md",)),
    "finished": Reader(
        (*runs.MADE["classifier"], "--out", "classifier", "--resume"), _copy("classifier"), "classifier/*"
    ),
    "stopped": Reader(
        (*_STOPPED, "--resume"),
        lambda folder: shutil.copytree(_stopped(), folder / "stopped"),
        "stopped/**/*",
        ("stopped/model.eqx", "stopped/solver.json"),
    ),
    "trained on": Reader(("evaluate", "forecast"), _copy("forecast"), "trajectories.csv", own=False),
    "trajectories": Reader(
        _train("dynamics", "--horizon", "3", "--file", "trajectories.csv"),
        runs.write_data,
        "trajectories.csv",
        own=False,
    ),
    "points": Reader(_train("density", "--file", "points.csv"), runs.write_data, "points.csv", own=False),
    "arrays": Reader(_train("density", "--file", "points.npz"), runs.write_data, "points.npz", own=False),
    "mnist": Reader(_train("mnist", "--data-dir", "npz"), _write_mnist, "npz/*", own=False),
    "idx": Reader(_train("mnist", "--data-dir", "idx"), _write_mnist, "idx/*", own=False),
    "zipped idx": Reader(_train("mnist", "--data-dir", "gz"), _write_mnist, "gz/*", own=False),
    "archive": Reader(
        _train("latent", "--data", "physionet", "--data-dir", ".", "--latent", "2", "--hidden", "4"),
        _write_physionet,
        "set-a.tar.gz",
        own=False,
    ),
}
"""By what is damaged."""


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]


def _byte(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(content)))
    return content[:place] + rng.bytes(1) + content[place + 1 :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def _zero(content: bytes, rng: np.random.Generator) -> bytes:
    start, count = int(rng.integers(len(content))), int(rng.integers(1, 64))
    return content[:start] + bytes(len(content[start : start + count])) + content[start + count :]


def _double(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(int(x) for x in rng.integers(0, len(content) + 1, 2))
    return content[:end] + content[start:]


def _swap(content: bytes, rng: np.random.Generator) -> bytes:
    """Well-formed JSON, with a value of another type in a random place; in a JSONL file in a random line."""
    lines = content.splitlines(keepends=True)
    try:
        trees = [json.loads(content)]
        lines, where = [content], 0
    except ValueError:
        where = int(rng.integers(len(lines)))
        try:
            trees = [json.loads(lines[where])]
        except ValueError:
            return _byte(content, rng)
    holders = [(trees, 0)]
    for holder, key in holders:  # it grows while it is walked: all places of the tree
        value = holder[key]
        inside = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        holders += [(value, key) for key in inside]
    holder, key = holders[int(rng.integers(len(holders)))]
    values = [None, True, -1, 0, 1e308, 2**70, "x", "", [], {}, [[1]], {"a": 1}]
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = values[rng.integers(len(values))]
    lines[where] = json.dumps(trees[0]).encode() + b"\n"
    return b"".join(lines)


def _nest(content: bytes, rng: np.random.Generator) -> bytes:
    opened, closed = ((b"[", b"]"), (b'{"a":', b"}"))[rng.integers(2)]
    return opened * 100_000 + (b"1" + closed * 100_000 if rng.integers(2) else b"")


def _huge(content: bytes, rng: np.random.Generator) -> bytes:
    """A number in a text, replaced by one that no float32 holds."""
    numbers = list(re.finditer(rb"-?\d+\.?\d*(e-?\d+)?", content))
    if not numbers:
        return _byte(content, rng)
    number = numbers[rng.integers(len(numbers))]
    other = (b"1e300", b"nan", b"-inf", b"", b"9" * 400, b"1e999")[rng.integers(6)]
    return content[: number.start()] + other + content[number.end() :]


DAMAGES: dict[str, Damage] = {
    "a bit flipped": _flip,
    "another byte": _byte,
    "cut": _cut,
    "a stretch of zeros": _zero,
    "a stretch twice": _double,
    "empty": lambda content, rng: b"",
    "more at the end": lambda content, rng: content + rng.bytes(int(rng.integers(1, 40))),
    "random bytes": lambda content, rng: rng.bytes(len(content)),
    "nested brackets": _nest,
    "another value": _swap,
    "another number": _huge,
}


@functools.cache
def _undamaged(name: str) -> tuple[Any, ...]:
    """What the command comes to without damage."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        READERS[name].make(folder)
        ended = invoke(READERS[name].arguments, folder)
        assert ended.code == 0, ended.err
        return READERS[name].result(ended, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_case(seed: int, number: int) -> Outcome:
    """Damage a file, and run the command that reads it."""
    rng, names = np.random.default_rng([seed, number]), list(READERS)
    name = names[number % len(names)]
    reader = READERS[name]
    expected = _undamaged(name)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        reader.make(folder)
        files = reader.found(folder)
        path = files[rng.integers(len(files))]
        how = _damage(path, rng)
        about = {"what": name, "file": str(path.relative_to(folder)), "damage": how}
        ended = invoke(reader.arguments, folder)
        same = ended.code == 0 and (not reader.own or reader.result(ended, folder) == expected)
        return Outcome(_kind(ended, reader), _fault(ended, reader, path, same), {**about, "said": ended.err[:400]})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _damage(path: Path, rng: np.random.Generator) -> str:
    """Damage a file in one way; returns how."""
    content = path.read_bytes()
    if rng.random() < 0.1:
        other = runs.finished(str(rng.choice(["classifier", "learned"]))) / path.name
        if other.exists():
            path.write_bytes(other.read_bytes())
            return "another run's file"
    text = path.suffix in (".json", ".jsonl", ".csv")
    how = str(rng.choice([*DAMAGES, *["another value", "another number", "a bit flipped"] * (2 if text else 0)]))
    path.write_bytes(DAMAGES[how](content, rng) if content else rng.bytes(8))
    return how


def _kind(ended: Ended, reader: Reader) -> str:
    return "noticed" if ended.code else "no difference" if reader.own else "taken"


def _fault(ended: Ended, reader: Reader, path: Path, same: bool) -> str | None:
    if (fault := ended.fault(silent=False)) is not None:
        return fault
    if ended.code and path.name not in ended.err:
        return f"the file is not named: {ended.err}"
    if reader.own and ended.code == 0 and not same and path.name not in ended.err + ended.out:
        return f"another result, and nothing is said: {ended.out[-800:]}"
    if not reader.own and re.search(r"\b(nan|inf)\b", ended.out):
        return f"numbers that are none: {ended.out[-500:]}"
    return None
