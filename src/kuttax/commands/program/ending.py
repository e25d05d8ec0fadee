"""Ending: every end of a command is one line on standard error and an exit code.

| code | cause |
|---|---|
| 0 | success; `fit` and `certify`: the certificate is valid |
| 1 | training or a solve failed, memory or the disk is full; `fit` and `certify`: the certificate is not valid |
| 2 | a wrong option, value or file |
| 70 | a bug: the traceback is in a file, or shown if the environment has `KUTTAX_TRACEBACK=1` |
| 130, 143 | Ctrl-C; SIGTERM while training |
"""

import contextlib
import errno
import os
import platform
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from ..._starting import INTERRUPTED, end_at_once
from ...errors import UserError

BUG = 70
"""The exit code of a bug (EX_SOFTWARE of sysexits.h)."""

_LOWER = "lower --batch-size, the width of the model, or the number of samples"
_WRONG_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG)


def run(
    command: Callable[[], int | None],
    *,
    program: str = "kuttax",
    stopped: str = "stopped",
    failures: tuple[type[Exception], ...] = (),
) -> NoReturn:
    """Run a command and exit: with its code, or with one line that gives the cause.

    Args:
        command: Returns the exit code; None is 0.
        program: The start of that line.
        stopped: The text after Ctrl-C.
        failures: Further exceptions that mean a failure of the work, not a bug of the program.
    """
    try:
        with _interrupts() as asked, _warnings_in_one_line(program):
            try:
                sys.exit(_flushed(command) or 0)
            except BrokenPipeError:  # whoever read the output has seen enough (`| head`)
                sys.exit(1)
            except Exception as error:
                if asked:  # the interrupt came in the midst of something that made another error of it
                    raise KeyboardInterrupt from error
                message, code = _ended(error, program, failures)
                if code == BUG and os.environ.get("KUTTAX_TRACEBACK"):
                    raise
    except KeyboardInterrupt:
        message, code = stopped, INTERRUPTED
    print(f"{program}: {_one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _flushed(command: Callable[[], int | None]) -> int | None:
    """Run a command and flush its output; if that fails, Python does not try again when it exits."""
    try:
        return command()
    finally:
        if (out := sys.stdout) is not None:  # None if it was closed
            try:
                out.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
                raise


def _ended(error: Exception, program: str, failures: tuple[type[Exception], ...]) -> tuple[str, int]:
    """The message for an error, and the exit code."""
    match error:
        case UserError():
            return str(error), 2
        case OSError():
            return _of_system(error)
        case MemoryError():
            return f"out of memory{_in_brackets(error)}: {_LOWER}", 1
        case OverflowError():
            return f"a number is too large for the machine{_in_brackets(error)}: lower it", 2
        case RecursionError():
            return f"too deeply nested{_in_brackets(error)}: lower --depth, or look into the files that were given", 2
        case _ if isinstance(error, failures):
            return str(error), 1
    return _of_work(error) or (_bug(error, program), BUG)


def of_one_run(error: Exception) -> str | None:
    """The message for an error that ends one run of many; None for one that ends the others too."""
    if isinstance(error, MemoryError):
        return _ended(error, "", ())[0]
    found = _of_work(error)
    return None if found is None or found[1] != 1 else found[0]


def _of_work(error: Exception) -> tuple[str, int] | None:
    """The message for what ended training, a solve or a compiled program; None for any other error."""
    import jax  # here, and what imports it, so that the help and a mistyped command do not wait for it

    from ...solvers.base.solution import SolveError
    from ...training.failure import TrainingError
    from ...training.saving import Stopped

    match error:
        case Stopped():
            return str(error), 128 + error.signal
        case SolveError() | TrainingError():
            return str(error), 1
        case jax.errors.JaxRuntimeError():
            if "RESOURCE_EXHAUSTED" in str(error):
                return f"out of memory{_in_brackets(error)}: {_LOWER}", 1
            return f"JAX's runtime failed{_in_brackets(error)}", 1
    return None


def _of_system(error: OSError) -> tuple[str, int]:
    """The message for a file, disk or connection that cannot be used."""
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    why = error.strerror or str(error) or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        mend = "make room, or give another --out" if where else "make room"
        return f"{where}the disk is full ({why}): {mend}", 1
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{where}{why}: raise the limit on open files (ulimit -n)", 1
    return f"{where}{why}", 2 if error.errno in _WRONG_FILE else 1


@contextlib.contextmanager
def _warnings_in_one_line(program: str) -> Iterator[None]:
    """Print each warning as one line on standard error, without its place in the code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *where, **more: f"{program}: {_one_line(str(message))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _one_line(text: str) -> str:
    """The text in one line, with control characters escaped."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)


def _in_brackets(error: Exception) -> str:
    """The first line of an error's text, if any."""
    text = str(error).strip().partition("\n")[0]
    return f" ({text})" if text else ""


def _bug(error: Exception, program: str) -> str:
    """The message for an unexpected error; its traceback goes into a file."""
    import jax  # here, as in `_of_work`

    asked = f"{program} {' '.join(sys.argv[1:])}\nPython {platform.python_version()}, JAX {jax.__version__}\n\n"
    what = f"{type(error).__name__}{_in_brackets(error)}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"{program.split()[-1]}-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(asked + "".join(traceback.format_exception(error)))
        where = f"with the traceback in {file.name}"
    except OSError:
        where = "with the traceback that KUTTAX_TRACEBACK=1 shows"
    return f"{what}: this is a bug in {program}; please report it, {where}"


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The first Ctrl-C raises KeyboardInterrupt, the second ends the process at once; so does the first, where it is
    raised in a place that ignores exceptions, such as `__del__`. Yields a list that is not empty once it was asked.

    Afterwards, and in other threads than the main one, Ctrl-C does what it did before.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            end_at_once()
        asked.append(number)
        raise KeyboardInterrupt

    def ignored(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            end_at_once()
        hook(what)

    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield asked
        return
    signal.signal(signal.SIGINT, ask)
    sys.unraisablehook = ignored
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
