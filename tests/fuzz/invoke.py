"""Running the command line inside this process, and what it leaves in a folder."""

import contextlib
import hashlib
import io
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuttax.commands import main as cli

from .outcome import LONGEST, Hang

CODES = (0, 1, 2)
"""The exit codes of a command that nobody interrupts; any other is a bug of the program."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def fault(self, *, silent: bool) -> str | None:
        """What is wrong about the way it ended.

        Args:
            silent: Whether it may exit with 1 and say nothing on standard error, as with a certificate that is not
                valid.
        """
        if "Traceback" in self.out + self.err:
            return f"a traceback: {self.err[-600:]}"
        if self.code not in CODES:
            return f"exit code {self.code}: {self.err[-600:]}"
        lines = self.err.splitlines()
        if self.code == 0 or (self.code == 1 and silent and not lines):
            return f"a warning of Python's: {self.err[:600]}" if "Warning: " in self.err else None
        if len(lines) != 1 or not lines[0].startswith("kuttax: "):
            return f"exit code {self.code}, and not one line on standard error: {self.err[:600]!r}"
        return None


def invoke(arguments: Sequence[str], folder: Path) -> Ended:
    """The command line in `folder`.

    Raises:
        Hang: It took too long.
        Exception: Whatever it does not catch.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _within(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _limited():
        try:
            cli.main(list(arguments))
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, str]:
    """The files below a folder, with their SHA-256."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    """The working directory, and an environment where a bug raises in place of writing a file."""
    before, environment = Path.cwd(), dict(os.environ)
    os.environ |= {"KUTTAX_TRACEBACK": "1", "COLUMNS": "300"}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ |= environment


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """A command that waits for something is ended; one that computes, by what it used of the processor."""

    def end(*_) -> None:
        raise Hang(f"no end after {LONGEST:.0f} s")

    numbers = (signal.SIGALRM, signal.SIGPROF)
    before = [signal.signal(number, end) for number in numbers]
    signal.setitimer(signal.ITIMER_REAL, 5 * LONGEST)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", hidden)  # as Python does where nothing is said of warnings
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
