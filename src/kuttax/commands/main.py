"""kuttax fit | train | compare | sweep | evaluate | certify | distill | export | report: the command line.

Nothing slow is imported before the command is known: `kuttax --help` does not wait for JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from .._version import __version__
from ..tasks.registry import TASKS
from .program.command_line import Command, CommandLine
from .program.compiled import keep_compiled

USAGE = f"""kuttax {__version__}: train neural differential equations that do not depend on their solver

usage:
  kuttax fit TASK --nfe N [OPTIONS]  train a model and a solver of N evaluations, and certify the result
  kuttax train TASK [OPTIONS]        train one model with one solver, and with a penalty if you name one
  kuttax compare TASK [OPTIONS]      train one model with several solvers, or with several penalties, and report each
  kuttax sweep train|fit TASK [...]  train or fit with every combination of values of some options, and report each
  kuttax evaluate RUN [OPTIONS]      evaluate a saved run on its test data, with its own solver or another one
  kuttax certify RUN [OPTIONS]       test whether the results of a saved run depend on its solver
  kuttax distill RUN [OPTIONS]       fit a learned solver to the field of a saved run
  kuttax export RUN [OPTIONS]        write a saved run for programs without kuttax
  kuttax report DIR...               draw table, plots and page of a comparison or sweep again, or of several as one

tasks: {", ".join(TASKS)}
options of a command on a task: kuttax train digits --help

to begin:
  kuttax train digits --solver learned --stages 4 --steps 2
  kuttax compare digits --nfe 4 8 --seeds 3
  kuttax compare digits --penalties all"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; `kuttax.commands.program.ending` says how it ends."""
    _PROGRAM.main(arguments)


def _loaded(load: Callable[[], Command]) -> Command:
    """Import a command; its compiled programs are kept."""
    keep_compiled()
    return load()


def _on_task(command: str, kind: str) -> Command:
    """Import a command that works on a task."""
    from .program.subject import on_task

    return partial(on_task, command, _options(command, kind))


def _on_swept(command: str, kind: str, swept: Mapping[str, str]) -> Command:
    """Import a command that sweeps over the options of others."""
    from .program.subject import on_swept

    others = {name: partial(_options, name, of) for name, of in swept.items()}
    return partial(on_swept, command, _options(command, kind), others)


def _on_folder(command: str, kind: str, what: str, example: str) -> Command:
    """Import a command that works on a saved run."""
    from .program.subject import on_folder

    return partial(on_folder, command, _options(command, kind), what, example)


def _on_folders(command: str, kind: str, what: str, example: str) -> Command:
    """Import a command that works on one or several comparisons."""
    from .program.subject import on_folders

    return partial(on_folders, command, _options(command, kind), what, example)


def _described() -> str:
    """Import what reads the versions."""
    from .versions import described

    return described()


def _options(command: str, kind: str) -> type[Any]:
    """The options of a command: a class in the module of its name."""
    return getattr(import_module(f"..{command}", __name__), kind)


_COMMANDS = {
    "fit": partial(_on_task, "fit", "Fit"),
    "train": partial(_on_task, "train", "Train"),
    "compare": partial(_on_task, "compare", "Compare"),
    "sweep": partial(_on_swept, "sweep", "Sweep", {"train": "Train", "fit": "Fit"}),
    "evaluate": partial(_on_folder, "evaluate", "Evaluate", "RUN", "runs/train-digits"),
    "certify": partial(_on_folder, "certify", "Certify", "RUN", "runs/train-digits"),
    "distill": partial(_on_folder, "distill", "Distill", "RUN", "runs/train-digits"),
    "export": partial(_on_folder, "export", "Export", "RUN", "runs/train-digits"),
    "report": partial(_on_folders, "report", "Report", "DIR", "runs/compare-digits"),
}
_PROGRAM = CommandLine(
    name="kuttax",
    call="kuttax",
    usage=USAGE,
    version=_described,
    stopped="stopped; what was saved is kept: train, fit, compare, sweep and distill continue with --resume",
    commands={name: partial(_loaded, load) for name, load in _COMMANDS.items()},
)
