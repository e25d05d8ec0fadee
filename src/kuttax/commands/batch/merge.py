"""Merging: the records of several folders, such as those of shards, as one comparison."""

import contextlib
import functools
import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UserError
from ...io import records
from ...io.folder import Folder
from ...io.records import Record
from ...report import RECORDS, comparison, curves, forecast, run_name
from ..options.shard import Shard
from ..saved.configuration import NAME, first_difference, read_configuration, save_configuration

_NEEDED = {"method", "label", "seed"}  # a failure before the start of its run may lack these


class Part(NamedTuple):
    """The comparison in one folder.

    Attributes:
        path: The folder.
        config: The options that all its runs share.
        records: All its records.
    """

    path: Path
    config: dict[str, Any]
    records: list[Record]

    @classmethod
    def read(cls, path: Path) -> "Part":
        """The part in a folder.

        Raises:
            UserError: It holds no comparison, or a damaged one.
        """
        folder = Folder(path, "report")
        check = functools.partial(folder.check, RECORDS, "run the comparison again", grown=True)
        found = records.read(path / RECORDS, comparison.shape, check)
        config = read_configuration(folder)
        if config is None:
            raise UserError(
                f"{path} has no {NAME}, so that its options cannot be compared with the others': restore it"
            )
        return cls(path, config, found)

    @property
    def runs(self) -> list[Record]:
        """The records of its runs, finished or failed."""
        return [record for record in self.records if record["kind"] in ("run", "failure")]

    @property
    def shard(self) -> Shard | None:
        """The shard that it is; None if it is none, or several."""
        said = {record.get("shard") for record in self.records if record["kind"] == "command"}
        with contextlib.suppress(ValueError):
            return Shard.read(str(said.pop())) if len(said) == 1 else None


def read(paths: Sequence[Path]) -> list[Part]:
    """The parts of one comparison, in the order of the shards if they are shards.

    Raises:
        UserError: They cannot be one comparison: their options differ, two have the same run, or there is no run.
    """
    parts = [Part.read(path) for path in paths]
    for other in parts[1:]:
        _refuse_others(parts[0], other)
    _refuse_twice(parts)
    if not any(part.runs for part in parts):
        raise UserError(f"there are no runs in {', '.join(map(str, paths))}: run their kuttax compare first")
    return sorted(parts, key=lambda part: part.shard or (0, 0)) if _count(parts) else parts


def missing(parts: Sequence[Part]) -> list[Shard]:
    """The shards of the comparison that are not among its parts."""
    count = _count(parts) or 0
    return [shard for i in range(count) if (shard := Shard(i + 1, count)) not in {part.shard for part in parts}]


def write(folder: Folder, parts: Sequence[Part], command: str) -> None:
    """Write the records, and the files of the runs that a report draws.

    Args:
        folder: The folder of the merged comparison.
        parts: Its parts.
        command: The command line that merges them.
    """
    save_configuration(folder, parts[0].config)
    with folder.writing(RECORDS):
        for record in ({"kind": "command", "command": command}, *_in_order(parts)):
            records.append(folder.path / RECORDS, record)
    for part in parts:
        for name in {run_name(record) for record in part.runs if record.keys() >= _NEEDED}:
            if name == Path(name).name:  # a damaged record must not name a file elsewhere
                _copy(part.path / "runs" / name, folder.part(f"runs/{name}"))


def _copy(run: Path, to: Folder) -> None:
    """Copy what a report draws of a run; the model stays where it is."""
    names = [name for name in (curves.NAME, forecast.NAME) if (run / name).exists()]
    with to.writing(*names):
        for name in names:
            shutil.copyfile(run / name, to.path / name)


def _refuse_others(one: Part, other: Part) -> None:
    """Refuse two comparisons of different options."""
    tasks = one.config.get("task"), other.config.get("task")
    if tasks[0] != tasks[1]:
        raise UserError(f"{one.path} compares on {tasks[0]}, {other.path} on {tasks[1]}: report each by itself")
    differs = first_difference(one.config, other.config)
    if differs is not None:
        raise UserError(
            f"{one.path} and {other.path} are comparisons of different options ({differs}): report each by itself"
        )


def _refuse_twice(parts: Sequence[Part]) -> None:
    """Refuse parts that have recorded the same run."""
    owners: dict[tuple[Any, Any], int] = {}
    for number, part in enumerate(parts):
        for record in part.runs:
            owner = owners.setdefault((record.get("label"), record.get("seed")), number)
            if owner != number:
                run = f"{record.get('label')}, seed {record.get('seed')}"
                raise UserError(f"both {parts[owner].path} and {part.path} recorded {run}: leave out one of them")


def _count(parts: Sequence[Part]) -> int | None:
    """The number of shards of the whole; None if the parts are no shards of one whole."""
    counts = {None if part.shard is None else part.shard.count for part in parts}
    return counts.pop() if len(counts) == 1 else None


def _in_order(parts: Sequence[Part]) -> Iterator[Record]:
    """The runs after all commands; of shards in the order of the whole comparison, as their runs took turns."""
    yield from (record for part in parts for record in part.records if record["kind"] not in ("run", "failure"))
    if _count(parts) == len(parts):
        yield from (record for turn in zip_longest(*(part.runs for part in parts)) for record in turn if record)
    else:
        yield from (record for part in parts for record in part.runs)
