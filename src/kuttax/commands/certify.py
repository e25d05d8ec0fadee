"""`kuttax certify RUN_DIR`: whether the results of a saved run depend on its solver."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from ..options.bounds import WholeNumber, above, check_bounds
from ..options.unused import Unused
from ..report import certificate as drawing
from ..training.certify import certify_run
from ..training.checkpoint import batch_size_of, load_run
from .saved.kept import save_certificate
from .saved.output import writing_into


@dataclass(frozen=True, kw_only=True)
class Certify:
    """Solve the held-out data of a saved run again, with finer steps and with other solvers, and test whether the
    results depend on the solver. The exit code is 0 for valid, 1 for invalid and for undecided."""

    data: Literal["validation", "test"] = "validation"
    """Use these data: validation, on which you may base choices, or test, for a final check."""
    samples: WholeNumber | None = None
    """Use at most this many samples (default: all)."""
    metric_tolerance: Annotated[float, above(0)] = 0.01
    """Allow the metric to change by at most this much: a share of the samples for an accuracy, the metric's own unit
    for a likelihood, a relative change for any other metric."""
    output_tolerance: Annotated[float, above(0)] = 0.05
    """Allow at most this share of the predicted classes to change. Without classes: allow the outputs of 95 % of the
    samples to deviate by at most this much, relative to the spread of each output over the samples."""
    max_step: Annotated[float | None, above(0)] = None
    """Limit the steps of the reference solves to this size, in units of time. Needed for inputs that change within less
    than 1 % of the interval (default: 1/64 and 1/32 of the interval)."""

    def __post_init__(self):
        check_bounds(self)

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others: none."""
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
            record = save_certificate(folder, certificate, task.name, self.data)
        console.print(drawing.terminal(record, console.width))
        saved = f"Saved: {directory / 'certificate.json'}, certificate.png, certificate.svg"
        console.out(saved)
        return 0 if certificate.verdict == "valid" else 1
