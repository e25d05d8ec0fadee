"""`kuttax certify RUN_DIR`: whether a saved run's field means anything without its solver."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from ..options.bounds import Count, above, check_bounds
from ..options.unused import Unused
from ..report import certificate as drawing
from ..training.certify import certify_run
from ..training.checkpoint import batch_size_of, load_run
from .kept import keep_certificate
from .output import writing_into


@dataclass(frozen=True, kw_only=True)
class Certify:
    """Solve a saved run's held-out data again with finer steps and with other solvers, and decide whether its field
    means anything without its own. The exit code is 0 for valid, 1 for invalid and for undecided."""

    data: Literal["validation", "test"] = "validation"
    """On which data: validation, on which choices may be made, or test, which is for a last look."""
    samples: Count | None = None
    """The most samples to look at (default all)."""
    metric_tolerance: Annotated[float, above(0)] = 0.01
    """The greatest change of the metric: a share of the samples for an accuracy, in its own unit for a likelihood,
    relative for any other."""
    output_tolerance: Annotated[float, above(0)] = 0.05
    """The greatest share of predicted classes that flip; without classes, the greatest deviation of a sample's outputs,
    relative to the spread of each output over the samples (for all but 5 % of the samples)."""
    max_step: Annotated[float | None, above(0)] = None
    """The largest step of the references, in the unit of time, for inputs that change within less than 1 % of the
    interval (default 1/64 and 1/32 of the interval)."""

    def __post_init__(self):
        check_bounds(self)

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others: none."""
        return {}

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        size = batch_size_of(directory)
        with writing_into(directory, "certify") as folder:
            task, model, solver = load_run(directory)
            certificate = certify_run(
                task,
                model,
                solver,
                getattr(task, self.data),
                size,
                self.samples,
                metric_tolerance=self.metric_tolerance,
                output_tolerance=self.output_tolerance,
                max_step=self.max_step,
            )
            record = keep_certificate(folder, certificate, task.name, self.data)
        console.print(drawing.terminal(record, console.width))
        saved = f"Saved: {directory / 'certificate.json'}, certificate.png, certificate.svg"
        console.out(saved)
        return 0 if certificate.verdict == "valid" else 1
