"""Random command lines: each ends in an exit code that is documented and, where it fails, in one line."""

import dataclasses
import shutil
import subprocess
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

import numpy as np

from kuttax.commands.certify import Certify
from kuttax.commands.compare import Compare
from kuttax.commands.distill import Distill
from kuttax.commands.evaluate import Evaluate
from kuttax.commands.fit import Fit
from kuttax.commands.train import Train
from kuttax.tasks.registry import TASKS

from . import runs
from .invoke import Ended, contents, invoke
from .outcome import Outcome

_ON_TASK = {"fit": Fit, "train": Train, "compare": Compare}
_ON_RUN = {"evaluate": Evaluate, "certify": Certify, "distill": Distill}
_COMMANDS = ("train", "train", "train", "fit", "compare", "evaluate", "certify", "distill", "report")
_BUDGET = {
    "fit": ("--nfe", "2"),
    "compare": ("--nfe", "2", "--seeds", "1", "--methods", "midpoint"),
    "distill": ("--nfe", "2", "--starts", "16"),
}
_PROCESSES = 50  # one case in so many runs as a process of its own
_SOMEBODYS = {"notes.txt": "mine", "runs/thesis.txt": "mine too", "index.html": "<p>my page</p>"}

Value = tuple[str | None, bool]
"""What follows an option, None for nothing, and whether it is surely wrong."""


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a command, and the type of its value."""

    flag: str
    type: Any

    def value(self, rng: np.random.Generator) -> Value:
        """A random value: valid, at a boundary, or wrong."""
        kind = _bare(self.type)
        if kind is bool:
            return (None, False) if rng.random() < 0.8 else ("maybe", True)
        if rng.random() < 0.06:
            return None, True  # the value is missing
        values = _WRONG.get(kind, ()) if rng.random() < 0.25 else _values(self.flag, kind)
        wrong = kind in _WRONG and values is _WRONG[kind]
        if typing.get_origin(kind) is Literal and rng.random() < 0.2:
            return "bogus", True
        return str(rng.choice(np.array(values or ("1",), object))), wrong


_WRONG = {int: ("1.5", "nan", "x", "", "0x10", "--", "1e999"), float: ("nan", "x", "", "1,5", "--")}
_SIZES = ("1", "2", "3", "4", "0", "-1", "99999999999999999999", "-99999999999999999999")
_NUMBERS = ("0.5", "1e-3", "1", "0", "-1", "inf", "-inf", "1e308", "1e999", "1e-320", "2", "0.01")
_FILES = ("trajectories.csv", "points.csv", "points.npz", "missing.csv", ".", "/dev/null", "no/such/folder", "")
_WORDS = {
    "--solver": ("learned", "rk4", "euler", "tsit5", "dopri5", "bosh3", "own", "milstein", "spark", "srk", "bogus"),
    "--penalty": ("none", "local-error", "taylor", "steer", "kinetic", "bogus"),
    "--penalties": ("none", "local-error", "all", "bogus"),
    "--methods": ("midpoint", "rk4", "tsit5", "learned", "bogus"),
    "--data": ("moons", "checkerboard", "8gaussians", "synthetic", "bogus"),
    "--seeds": ("1", "0,", "1,0", "0", "-1", "1,x", "99999999999999999999", "bogus"),
    "--shard": ("1/1", "1/2", "2/2", "0/2", "3/2", "1/0", "-1/-1", "1", "1/9999999999", "bogus"),
    "--workers": ("0", "-1", "99999999999999999999", "bogus"),
    "--scheduler": ("bogus", "bogus://x:1", ""),
    "--out": ("new", "somebodys", "new/[/red]", "points.csv", "classifier", "/dev/null/x", ""),
}


def _values(flag: str, kind: Any) -> tuple[str, ...]:
    """Values that the command may take or refuse."""
    if flag in _WORDS:
        return _WORDS[flag]
    if typing.get_origin(kind) is Literal:
        return tuple(map(str, typing.get_args(kind)))
    if kind is int or typing.get_origin(kind) is tuple:
        return _SIZES
    return _NUMBERS if kind is float else _FILES if kind is Path else ("x",)


def _bare(kind: Any) -> Any:
    """The type without `Annotated` and without None."""
    while True:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is Annotated:
            kind = inner[0]
        elif origin in (Union, UnionType):
            kind = next(part for part in inner if part is not type(None))
        else:
            return kind


def options(*kinds: type[Any]) -> Iterator[Option]:
    """The options of dataclasses, and of the dataclasses in them."""
    for kind in kinds:
        for name, annotation in typing.get_type_hints(kind, include_extras=True).items():
            if typing.get_origin(annotation) is typing.ClassVar:
                continue
            if dataclasses.is_dataclass(_bare(annotation)):
                yield from options(_bare(annotation))
            else:
                yield Option("--" + name.replace("_", "-"), annotation)


@dataclasses.dataclass(frozen=True)
class Line:
    """A command line; `wrong` where it surely must be refused."""

    arguments: tuple[str, ...]
    wrong: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Line":
        """A random one."""
        command = str(rng.choice(_COMMANDS))
        if command == "report":
            subject = str(rng.choice(["comparison", "comparison", "classifier", "missing", "points.csv", ""]))
            return cls((command, subject, *(["x"] if rng.random() < 0.2 else [])), False)
        if command in _ON_TASK:
            task = str(rng.choice(list(runs.TINY)))
            start = [command, task, *runs.QUICK, *runs.TINY[task], *_BUDGET.get(command, ())]
            if (command, task) == ("train", "spiral-sde"):
                start += ["--solver", "milstein", "--steps", "2"]
            known = list(options(_ON_TASK[command], TASKS[task]))
            if rng.random() < 0.05:
                start[1] = str(rng.choice(["bogus", "", "points.csv", "--help"]))
        else:
            names = ["classifier", "learned", "forecast", "comparison", "missing", "points.csv"]
            start = [command, str(rng.choice(names, p=[0.35, 0.2, 0.2, 0.1, 0.1, 0.05])), *_BUDGET.get(command, ())]
            known = list(options(_ON_RUN[command]))
        return cls._with_options(tuple(start), known, rng)

    @classmethod
    def _with_options(cls, start: tuple[str, ...], known: list[Option], rng: np.random.Generator) -> "Line":
        more, wrong = [], False
        for _ in range(rng.integers(0, 4)):
            option = known[rng.integers(len(known))]
            value, bad = option.value(rng)
            given = [option.flag] if value is None else [f"{option.flag}={value}"] if bad else [option.flag, value]
            wrong, more = wrong or bad, [*more, *given]
        match rng.integers(25):
            case 0:
                more, wrong = [*more, "--no-such-option"], True
            case 1:
                more, wrong = [*more, "stray"], wrong
            case 2:
                more = [*more, *more]  # each option twice: the last one counts
        return cls((*start, *more), wrong and "--help" not in start)


def try_case(seed: int, number: int) -> Outcome:
    """Run a random command line in a folder of its own."""
    line = Line.draw(np.random.default_rng([seed, number]))
    about = {"line": " ".join(repr(x) if not x or " " in x else x for x in line.arguments)}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        return _judge(line, folder, about, alone=number % _PROCESSES == _PROCESSES - 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(line: Line, folder: Path, about: dict[str, Any], *, alone: bool) -> Outcome:
    runs.write_data(folder)
    for name in ("classifier", "learned", "forecast", "comparison"):
        if name in line.arguments:
            runs.copied(name, folder)
    for name, text in _SOMEBODYS.items():
        path = folder / "somebodys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = contents(folder)
    ended = _alone(line.arguments, folder) if alone else invoke(line.arguments, folder)
    fault = ended.fault(silent=line.arguments[0] in ("fit", "certify"))
    if fault is None and line.wrong and ended.code == 0:
        fault = "a wrong option was taken"
    if fault is None and (lost := _lost(line, before, contents(folder))):
        fault = f"files that are not its own were changed or removed: {', '.join(lost)}"
    return Outcome(f"exit code {ended.code}", fault, {**about, "said": ended.err[:300]})


def _lost(line: Line, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Files of others that are not what they were: all but those of the run that the command is about, and of --out."""
    given = {argument.partition("=")[2] or argument for argument in line.arguments}
    own = tuple(f"{name}/" for name in ("classifier", "learned", "forecast", "comparison") if name in given)
    return [name for name, digest in before.items() if not name.startswith(own) and after.get(name) != digest]


def _alone(arguments: tuple[str, ...], folder: Path) -> Ended:
    """The command in a process of its own, as a user runs it."""
    command = [sys.executable, "-m", "kuttax", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)
