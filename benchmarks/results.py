"""Results: records read back, and the ratios of times measured in the same rounds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kuttax.errors import UserError
from kuttax.io import records
from kuttax.io.records import Record

from .workloads import ON_GPU, WORKLOADS


class Ratio(NamedTuple):
    """A ratio, its median over rounds and the quartiles; these are None where it was measured once."""

    median: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        spread = "" if self.low is None or self.high is None else f" [{digits(self.low)}, {digits(self.high)}]"
        return digits(self.median) + spread


def digits(value: float) -> str:
    """Three significant digits, without an exponent unless there must be one."""
    return f"{value:.4g}" if 1000 <= value < 1e5 else f"{value:#.3g}".removesuffix(".")


@dataclass(frozen=True)
class Results:
    """The last measurement of each workload, in their usual order; smoke runs only where there is nothing else."""

    found: tuple[Record, ...]

    @classmethod
    def read(cls, paths: Iterable[str]) -> "Results":
        """Records from files that `run` wrote.

        Raises:
            UserError: A file is missing or no such file, or there are no records.
        """
        found = [record for path in paths for record in records.read(path)]
        foreign = next((record for record in found if not {"workload", "rounds", "smoke"} <= set(record)), None)
        if foreign is not None:
            raise UserError("these records are not the benchmarks': name a file that `python -m benchmarks run` wrote")
        real = [record for record in found if not record["smoke"]] or found
        if not real:
            raise UserError("no records: measure first with `python -m benchmarks run`")
        last = {record["workload"]: record["date"] for record in sorted(real, key=lambda record: record["date"])}
        order = {name: i for i, name in enumerate((*WORKLOADS, *ON_GPU))}
        real.sort(key=lambda record: order.get(record["workload"], len(order)))
        return cls(tuple(record for record in real if record["date"] == last[record["workload"]]))

    @property
    def smoke(self) -> bool:
        """Whether these are smoke runs, whose times mean nothing."""
        return any(record["smoke"] for record in self.found)

    def of(self, *groups: str, kind: str) -> list[Record]:
        """The records of these groups of workloads, for one kind of work, in the order they were written."""
        return [record for record in self.found if record["group"] in groups and record["kind"] == kind]

    def get(self, workload: str, name: str, kind: str) -> Record | None:
        """The record of a library, or None."""
        same = (r for r in self.found if (r["workload"], r["name"], r["kind"]) == (workload, name, kind))
        return next(same, None)

    def time_ratio(self, workload: str, above: str, below: str, kind: str = "gradient") -> Ratio | None:
        """Time of one library over that of another: the medians of each round, divided pair by pair."""
        pair = self.get(workload, above, kind), self.get(workload, below, kind)
        return None if pair[0] is None or pair[1] is None else paired(pair[0], pair[1])

    def value_ratio(self, workload: str, above: str, below: str, field: str, kind: str = "gradient") -> Ratio | None:
        """The same for a number that is measured once."""
        values = [(self.get(workload, name, kind) or {}).get(field) for name in (above, below)]
        return Ratio(values[0] / values[1]) if values[0] is not None and values[1] else None


def paired(above: Record, below: Record) -> Ratio | None:
    """The ratio of two records of one workload; None where they were not measured together."""
    if above["date"] != below["date"]:
        return None
    rounds = zip(above["rounds"], below["rounds"], strict=True)
    low, median, high = np.quantile([np.median(a) / np.median(b) for a, b in rounds], [0.25, 0.5, 0.75])
    return Ratio(float(median), float(low), float(high))


def seconds(record: Record) -> float:
    """The median over rounds of each round's median."""
    return float(np.median([np.median(repeats) for repeats in record["rounds"]]))


def each(found: Sequence[Record], value: Callable[[Record], Any]) -> list[Any]:
    """The different values in the order they occur."""
    return list(dict.fromkeys(value(record) for record in found))
