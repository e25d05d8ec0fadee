"""against: this checkout of kuttax against another one, workload by workload, in pairs."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from kuttax.errors import UserError
from kuttax.io import records
from kuttax.options.bounds import WholeNumber, above, check_bounds

from . import machine, workloads
from .peer import Peer
from .results import Ratio
from .workload import Workload
from .workloads import WORKLOADS

_HERE, _THERE = "this", "other"


@dataclass(frozen=True)
class Against:
    """Measure kuttax's workloads with this checkout and with another one, in turns, and append one record for each.

    The ratios are this checkout's times over the other's, median and quartiles over rounds; below 1 this one is faster.
    Both solve with the same steps or tolerance.
    """

    other: Annotated[Path | None, tyro.conf.arg(metavar="SRC")] = None
    """Measure against this `src` folder of another checkout; needed."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/against.jsonl")
    """Append the records to this file."""
    only: str | None = None
    """Measure these workloads, with commas between them (default: all that kuttax's default settings solve)."""
    rounds: WholeNumber = 7
    """Give each checkout this many turns."""
    compiles: WholeNumber = 3
    """Compile this often with each checkout, in a new process each time."""
    seconds: Annotated[float, above(0)] = 0.3
    """Repeat for at least this many seconds in a turn."""
    most: WholeNumber = 50
    """Repeat at most this often in a turn."""
    smoke: bool = False
    """Run everything at tiny sizes, as a check; the times mean nothing."""

    def __post_init__(self):
        check_bounds(self)

    def __call__(self) -> None:
        """Measure, print a line for each workload and kind, and append the records.

        Raises:
            UserError: A workload is unknown, or the folder holds no kuttax.
        """
        source = self._source()
        names = list(WORKLOADS) if self.only is None else [word.strip() for word in self.only.split(",")]
        unknown = next((name for name in names if name not in WORKLOADS), None)
        if unknown is not None:
            raise UserError(f"--only does not know {unknown!r}; known: {', '.join(WORKLOADS)}")
        for name in names:
            for record in self._measure(source, workloads.find(name, smoke=self.smoke)):
                records.append(self.out, record)
                print(_line(record), flush=True)

    def _source(self) -> Path:
        """The folder that `other` names."""
        if self.other is None:
            raise UserError("against needs --other SRC, the src folder of another checkout")
        if not (self.other / "kuttax" / "__init__.py").is_file():
            raise UserError(f"--other {self.other} holds no kuttax: name the src folder of another checkout")
        return self.other.resolve()

    def _measure(self, other: Path, workload: Workload) -> list[records.Record]:
        sources = {_HERE: None, _THERE: other}
        prepare = {"do": "prepare", "workload": workload.name, "smoke": self.smoke, "reference": None, "target": None}
        compiled: dict[str, list[Any]] = {who: [] for who in sources}
        times: dict[str, dict[str, list[float]]] = {kind: {who: [] for who in sources} for kind in workload.kinds}
        for n in range(self.compiles):
            with contextlib.ExitStack() as stack:
                peers = {
                    who: stack.enter_context(Peer("kuttax", "cpu", sys.executable, source))
                    for who, source in sources.items()
                }
                for who, peer in _in_turn(peers, n):
                    compiled[who].append(peer.ask({**prepare, "counts": False})["kinds"])
                for turn in range(self.rounds if n == 0 else 0):
                    for kind in workload.kinds:
                        for who, peer in _in_turn(peers, turn):
                            asked = {"do": "time", "kind": kind, "seconds": self.seconds, "most": self.most}
                            times[kind][who].append(float(np.median(peer.ask(asked)["seconds"])))
        return [
            {
                "workload": workload.name,
                "kind": kind,
                "smoke": self.smoke,
                "seconds": times[kind],
                "compile_s": {who: [kinds[kind]["compile_s"] for kinds in compiled[who]] for who in sources},
                "processor": machine.processor(),
            }
            for kind in workload.kinds
        ]


def _in_turn(peers: dict[str, Peer], turn: int) -> list[tuple[str, Peer]]:
    """Both, the other one first every second time."""
    both = list(peers.items())
    return both if turn % 2 == 0 else both[::-1]


def _ratio(values: dict[str, list[float]]) -> Ratio:
    paired = np.array(values[_HERE]) / np.array(values[_THERE])
    return Ratio(*(float(np.quantile(paired, q)) for q in (0.5, 0.25, 0.75)))


def _line(record: records.Record) -> str:
    """The ratios of one workload and kind."""
    name = f"{record['workload']}, {record['kind']}"
    return f"{name:30} time {_ratio(record['seconds'])!s:24} compiling {_ratio(record['compile_s'])}"
