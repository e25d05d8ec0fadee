"""BatchOptions: the options of a command that makes many runs."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from ...options.bounds import at_least, check_bounds
from ...options.unused import Unused, unless
from ..options.seeds import Seeds
from ..options.shard import Shard
from ..saved.output import Output
from .workers import Workers

T = TypeVar("T")


def absolute(options: T) -> T:
    """A dataclass of options with absolute paths, for processes that run elsewhere."""
    found: Any = options
    paths = {option.name: getattr(found, option.name) for option in fields(found)}
    return replace(found, **{name: path.absolute() for name, path in paths.items() if isinstance(path, Path)})


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which of the runs, where they run, and where they are recorded."""

    seeds: Seeds = field(default_factory=lambda: Seeds.first(3))
    """Repeat with this many sets of initial weights, from seed 0 on; or with these seeds, if there is a comma:
    3,5,8."""
    shard: Shard | None = None
    """Make only a part of the runs, for job arrays: 2/20 is every 20th run, beginning with the second. Each shard needs
    its own --out; kuttax report merges them."""
    out: Path | None = None
    """Write records, table, plots and page to this folder (default: runs/COMMAND-TASK; of a shard
    runs/COMMAND-TASK-K-of-N)."""
    overwrite: bool = False
    """Replace the earlier results in --out."""
    resume: bool = False
    """Continue what was interrupted in --out: keep the runs that are recorded, and continue the unfinished one from its
    last checkpoint."""
    workers: Annotated[int, at_least(1, most=10_000)] | None = None
    """Make this many runs at once, each in a process of this machine, by dask (default: one run after the other)."""
    scheduler: str | None = None
    """Run on the workers of the dask scheduler at this address; they must see --out."""

    def __post_init__(self):
        check_bounds(self)

    def unused_of_workers(self) -> dict[str, Unused]:
        """The options of other processes that have no effect beside each other."""
        return unless(self.scheduler is None, ["workers"], "with --scheduler, which has workers of its own")

    def output(self, command: str, name: str) -> Output:
        """The folder of the runs of a command on the named task, or of their shard."""
        usual = f"runs/{command}-{name}" + ("" if self.shard is None else "-{}-of-{}".format(*self.shard))
        out = Path(usual) if self.out is None else self.out
        return Output(out, command, overwrite=self.overwrite, resume=self.resume)

    def checked_workers(self) -> Workers | None:
        """The processes for the runs, None for this one.

        Raises:
            UserError: dask is not installed, or no scheduler answers.
        """
        if self.workers is None and self.scheduler is None:
            return None
        workers = Workers(self.workers, self.scheduler)
        workers.check()
        return workers
