"""run: measure workloads and append the records."""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kuttax.errors import UserError
from kuttax.io import records
from kuttax.options.bounds import WholeNumber, above, check_bounds

from . import oracle, workloads
from .libraries import LIBRARIES
from .measure import Turns, measure
from .peer import Versions, installed, peers
from .problems import Problem
from .workload import Workload
from .workloads import WORKLOADS

# kuttax requires those on JAX.
_MISSING = "not installed (install benchmarks/requirements.txt in an environment and name it: --torch-python PYTHON)"


@dataclass(frozen=True)
class Run:
    """Measure workloads, library against library in pairs, and append one record for each.

    A workload is measured whole or not at all: only times of one round are compared. What is in the file already, with
    the same versions, is not measured again.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/benchmarks.jsonl")
    """Append the records to this file."""
    only: str | None = None
    """Measure these workloads, with commas between them (default: all)."""
    libraries: str | None = None
    """Measure these libraries, or variants of them, with commas between them (default: all)."""
    rounds: WholeNumber | None = None
    """Give each library this many turns (default: 7; 3 for convolutions, larger fields, scaling and memory)."""
    seconds: Annotated[float, above(0)] = 0.3
    """Repeat for at least this many seconds in a turn; three repeats suffice unless they take ten times as long."""
    most: WholeNumber = 50
    """Repeat at most this often in a turn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Compute on this device; auto: each framework's own choice."""
    torch_python: Annotated[str, tyro.conf.arg(metavar="PYTHON")] = sys.executable
    """Run the libraries on PyTorch with this Python interpreter."""
    smoke: bool = False
    """Run everything at tiny sizes, as a check; the times mean nothing."""
    again: bool = False
    """Measure again what the file holds already."""

    def __post_init__(self):
        check_bounds(self)

    def __call__(self) -> None:
        """Measure what is asked for and not in the file yet.

        Raises:
            UserError: An option cannot work.
        """
        workload_names = chosen(self.only, "--only", {name: [name] for name in WORKLOADS})
        names = chosen(self.libraries, "--libraries", _families())
        there = installed(names, self.torch_python)
        for name in names:
            if name not in there:
                print(f"{name} left out: {_MISSING}", file=sys.stderr)
        done = [] if self.again or not self.out.exists() else records.read(self.out)
        with tempfile.TemporaryDirectory() as folder:
            truths: dict[Problem, Path] = {}
            for workload in (workloads.find(name, smoke=self.smoke) for name in workload_names):
                versions = {name: there[name] for name in workload.libraries if name in there}
                if versions and not is_done(workload, versions, done, self.smoke):
                    self._measure(workload, list(versions), Path(folder), truths)

    def _measure(self, workload: Workload, names: Sequence[str], folder: Path, truths: dict[Problem, Path]) -> None:
        rounds = self.rounds or workload.rounds
        turns = Turns(rounds, 0.01, 3) if self.smoke else Turns(rounds, self.seconds, self.most)
        with peers(names, self.device, self.torch_python) as workers:
            if workload.reference and workload.problem not in truths:  # while the workers start
                truths[workload.problem] = folder / f"{workload.name}.npz"
                oracle.write(workload, truths[workload.problem], smoke=self.smoke)
            made = measure(workload, workers, turns, truths.get(workload.problem), smoke=self.smoke)
        for record in made:
            records.append(self.out, record)


def _families() -> dict[str, list[str]]:
    """What `--libraries` knows: each variant by its name, all variants of a library by the library's."""
    names = {name: [name] for name in LIBRARIES}
    modules = dict.fromkeys(library.module for library in LIBRARIES.values())
    return names | {module: [name for name, lib in LIBRARIES.items() if lib.module == module] for module in modules}


def chosen(given: str | None, option: str, known: Mapping[str, Iterable[str]]) -> list[str]:
    """What the words with commas between them stand for; everything if none are given.

    Raises:
        UserError: A word is unknown.
    """
    words = list(known) if given is None else [word.strip() for word in given.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise UserError(f"{option} does not know {word!r}; known: {', '.join(known)}")
    return list(dict.fromkeys(name for word in words for name in known[word]))


def is_done(workload: Workload, versions: Mapping[str, Versions], done: Iterable[records.Record], smoke: bool) -> bool:
    """Whether the last measurement of this workload has all these libraries, with the versions of now."""
    same = [record for record in done if record["workload"] == workload.name and record["smoke"] == smoke]
    last = [record for record in same if record["date"] == max(record["date"] for record in same)]
    have = {record["name"] for record in last if record["versions"] == versions.get(record["name"])}
    return set(versions) <= have.union(*(record["left_out"] for record in last))
