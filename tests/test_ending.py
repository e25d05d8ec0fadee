"""Ending: whatever ends a command is one line on standard error, without a traceback, and an exit code."""

import errno
import os
import signal
import subprocess
import sys
import time

import jax
import pytest

from kuttax import UserError
from kuttax.commands import main as cli
from kuttax.commands import report
from kuttax.commands.program import ending, subject
from kuttax.commands.program.terminal import terminal
from kuttax.solvers.base.solution import SolveError, Status
from kuttax.training.failure import TrainingError
from kuttax.training.saving import Stopped

PROGRAM = [sys.executable, "-m", "kuttax"]


@pytest.fixture
def ended(capsys):
    """Ends a command by an exception; returns the exit code and the line on standard error."""

    def end(error, **options):
        def command():
            raise error

        with pytest.raises(SystemExit) as stop:
            ending.run(command, **options)
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "Traceback" not in err
        return stop.value.code, err.strip()

    return end


def full(filename=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), filename)


class PeerError(Exception):
    """A failure that only one program knows."""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("steps must be >= 1,\n got 0"), 2, "steps must be >= 1, got 0"),
        (SolveError(Status.max_steps, "the solve used up max_steps"), 1, "used up max_steps"),
        (TrainingError("the loss became nan"), 1, "the loss became nan"),
        (Stopped(signal.SIGTERM, 3), 143, "stopped at training step 3"),
        (Stopped(signal.SIGINT, 3), 130, "stopped at training step 3"),
        (KeyboardInterrupt(), 130, "stopped"),
        (full("runs/a/model.eqx"), 1, "runs/a/model.eqx: the disk is full (No space left on device): make room"),
        (full(), 1, "the disk is full (No space left on device): make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"x"), 2, "x: No such file"),
        (OSError("the server is gone"), 1, "the server is gone"),
        (MemoryError("Unable to allocate 1.46 TiB"), 1, "out of memory (Unable to allocate 1.46 TiB): lower --batch-"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"), 1, "out of memory (RESOURCE_EXHAUSTED"),
        (jax.errors.JaxRuntimeError("INTERNAL: no luck"), 1, "JAX's runtime failed (INTERNAL: no luck)"),
        (OverflowError("Python int too large to convert to C long"), 2, "too large for the machine (Python int"),
        (RecursionError("maximum recursion depth exceeded"), 2, "too deeply nested (maximum recursion depth"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_end_is_one_line_and_its_code(ended, error, code, says):
    found, line = ended(error)
    assert found == code and line.startswith("kuttax: ") and says in line


def test_failures_of_one_program_are_no_bugs(ended):
    assert ended(PeerError("torch is missing"), program="benchmarks", failures=(PeerError,)) == (
        1,
        "benchmarks: torch is missing",
    )


def test_bug_leaves_its_traceback_in_a_file(ended, monkeypatch, tmp_path):
    monkeypatch.delenv("KUTTAX_TRACEBACK")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, line = ended(KeyError("nobody thought of it"))
    (path,) = tmp_path.iterdir()
    assert code == 70 and "this is a bug in kuttax; please report it" in line and str(path) in line
    assert "KeyError: 'nobody thought of it'" in path.read_text() and "in command" in path.read_text()


def test_bug_is_shown_where_asked_for(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        ending.run(lambda: 1 // 0)


def test_interrupt_that_a_library_makes_another_error_of(ended):
    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("callback failed") from None

    with pytest.raises(SystemExit) as stop:
        ending.run(command)
    assert stop.value.code == 130


def test_a_warning_is_one_line():
    """In a process of its own: here, warnings are errors."""
    run = "ending.run(lambda: warnings.warn('a torn\\nline', RuntimeWarning))"
    program = f"import warnings; from kuttax.commands.program import ending\n{run}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "kuttax: a torn line\n")


def test_what_interrupts_do_is_as_before_afterwards(ended):
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    ended(UserError("no"))
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9])
def test_interrupt_in_the_first_seconds_is_one_line(seconds):
    process = subprocess.Popen([*PROGRAM, "certify", "nowhere"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 2:  # a fast machine: it was done before
        pytest.skip("ended before the interrupt")
    assert process.returncode == 130 and out == b"" and err == b"kuttax: stopped\n"


INTERRUPTED_WITHIN = """
import os, signal, sys
sys.argv[0] = "kuttax"
from kuttax.commands.program import ending

class Ignores:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass

def command():
    if sys.argv[1] == "del": Ignores()
    if sys.argv[1] == "exit":
        import atexit
        atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), [0 for _ in range(1000)]))
    if sys.argv[1] == "twice":
        for _ in range(2):
            try: os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(1000)]
            except BaseException: pass

ending.run(command)
"""


@pytest.mark.parametrize("where", ["del", "exit", "twice"])
def test_interrupt_where_exceptions_are_ignored_is_one_line(where):
    run = subprocess.run([sys.executable, "-c", INTERRUPTED_WITHIN, where], capture_output=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (130, b"", b"kuttax: stopped\n")


def test_import_changes_nothing_in_another_program():
    code = "import signal, kuttax; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk_under_the_output_is_one_line():
    with open("/dev/full", "w") as nowhere:
        run = subprocess.run([*PROGRAM, "--help"], stdout=nowhere, stderr=subprocess.PIPE, timeout=120, text=True)
    assert (run.returncode, run.stderr) == (1, "kuttax: the disk is full (No space left on device): make room\n")


@pytest.mark.parametrize("path", ["a/[/red]", "[bold]x[/bold]", ":smile:", "[link=x]", "a" * 120])
def test_a_path_is_printed_as_it_is(capsys, monkeypatch, path):
    monkeypatch.setattr(report, "draw", lambda folder, console: None)
    monkeypatch.setattr(subject, "terminal", lambda: terminal())
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", path])
    assert not stop.value.code and capsys.readouterr().out.endswith(f"page: {path}/index.html\n")
