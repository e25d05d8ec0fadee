"""Batch: many runs, each recorded once in one file, here or in other processes."""

import contextlib
import functools
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ...errors import UserError
from ...io import records
from ...io.folder import Folder
from ...io.records import Record
from ...report import RECORDS, comparison
from ..options.shard import Shard
from ..report import draw
from ..run import describe_metric, describe_nfe
from . import workers as processes
from .options import BatchOptions
from .workers import Workers


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        about: What a record says of it, at least its label and seed.
        part: The name of its folder in that of the batch.
        here: Makes the run in this process; it takes that folder and returns the record.
        call: Plain values. With them and the path of that folder, the work of the batch makes the run in another
            process.
    """

    about: Record
    part: str
    here: Callable[[Folder], Record]
    call: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The name of the run in a line."""
        return f"{self.about['label']}, seed {self.about['seed']}"


@dataclass(frozen=True)
class Batch:
    """Many runs in one folder.

    Attributes:
        folder: The folder of the records and of all runs.
        console: For a line on each run.
        work: A function of a module, which other processes import. It makes a run and returns its record.
        finish: Called with the folder of a run after its record is saved.
    """

    folder: Folder
    console: Console
    work: Callable[..., Record]
    finish: Callable[[Folder], None] = lambda folder: None

    def run(self, jobs: Sequence[Job], options: BatchOptions, workers: Workers | None) -> int:
        """Make the runs of the shard that are not recorded yet, and draw the report.

        Args:
            jobs: All runs.
            options: The options of the batch.
            workers: The processes for the runs; None for this one.

        Returns:
            The exit code: 1 if a run failed, else 0.
        """
        part = list(jobs) if options.shard is None else options.shard.of(list(jobs))
        failed = self._all(part, options.shard, workers)
        if not part:
            self.console.out(f"shard {options.shard} has no runs: there are only {len(jobs)}")
            return 0
        try:
            draw(self.folder, self.console)
        except UserError as error:  # the runs are done and recorded
            self.console.out(f"no table: {error}")
            return 1
        return 1 if failed else 0

    def say(self, out: Path) -> None:
        """Say where the report is, if there is one."""
        if (out / "headline.png").exists():
            self.console.out(f"In one picture: {out / 'headline.png'}")
        if (out / "index.html").exists():
            self.console.out(f"Table, plots and page: {out / 'index.html'}")

    def _all(self, jobs: Sequence[Job], shard: Shard | None, workers: Workers | None) -> int:
        """Make the runs that are not recorded yet; returns how many failed."""
        path = self.folder.path / RECORDS
        check = functools.partial(self.folder.check, RECORDS, "start again with --overwrite", grown=True)
        recorded = records.read(path, comparison.shape, check) if path.exists() else []
        done = {(record["label"], record["seed"]) for record in recorded if record["kind"] == "run"}
        part = {} if shard is None else {"shard": str(shard)}
        self._append({"kind": "command", "command": shlex.join(["kuttax", *sys.argv[1:]]), **part})
        left, failed = [], 0
        for job in jobs:
            if (job.about["label"], job.about["seed"]) in done:
                self.console.out(f"{job.name}: recorded")
            else:
                left.append(job)
        found = self._here(left) if workers is None else self._elsewhere(left, workers)
        with contextlib.closing(found):  # which ends its processes
            for job, record in found:
                self._append(record)
                self.console.out(_in_short(job, record))
                self.finish(self.folder.part(job.part))
                failed += record["kind"] == "failure"
        return failed

    def _here(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Record]]:
        """Runs in this process, one after the other."""
        for job in jobs:
            yield job, job.here(self.folder.part(job.part))

    def _elsewhere(self, jobs: Sequence[Job], workers: Workers) -> Generator[tuple[Job, Record]]:
        """Runs in other processes, in the order in which they end. Only this process writes the file of records."""
        calls = [(*job.call, self.folder.part(job.part).path.absolute()) for job in jobs]
        for number, found in processes.results(workers, self.work, calls):
            lost = {"kind": "failure", **jobs[number].about, "error": processes.LOST}
            yield jobs[number], lost if found is None else found

    def _append(self, record: Record) -> None:
        """Add a record, and save the digest of the records file."""
        if not self.folder.lists(RECORDS):
            self.folder.claim(RECORDS)
        records.append(self.folder.path / RECORDS, record)
        self.folder.seal(RECORDS)


def _in_short(job: Job, record: Record) -> str:
    """The line on a finished run."""
    if record["kind"] == "failure":
        return f"{job.name}: failed: {record['error']}"
    shown = {part: describe_metric(record[part], record["metric"]["unit"]) for part in ("validation", "test")}
    results = f"validation {shown['validation']}, test {shown['test']}, NFE {describe_nfe(record)}"
    return f"{job.name}: {results}, {record['train_seconds']:.1f} s"
