"""Where commands print to: a bar that redraws its line needs a terminal that forgets the line before."""

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from kuttax.training.log import Log
from kuttax.training.loop import Progress

SAYS = "from kuttax.commands.program.terminal import terminal; print(terminal().is_terminal)"


@pytest.mark.parametrize(
    ("environment", "live"),
    [({}, True), ({"FORCE_COLOR": "1"}, True), ({"JPY_PARENT_PID": "7", "FORCE_COLOR": "1"}, False)],
    ids=["terminal", "colours", "notebook"],
)
def test_a_notebook_is_no_terminal(environment, live):
    """A cell `!kuttax ...` has a terminal that keeps everything: its kernel's process says so."""
    first, second = pty.openpty()
    call = {"env": {**os.environ, "TERM": "xterm", **environment}, "stdout": second, "timeout": 60}
    subprocess.run([sys.executable, "-c", SAYS], check=True, **call)
    os.close(second)
    assert os.read(first, 100).decode().strip() == str(live)
    os.close(first)


def test_a_file_is_no_terminal(tmp_path):
    with (tmp_path / "said").open("w") as file:
        environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
        subprocess.run([sys.executable, "-c", SAYS], check=True, env=environment, stdout=file, timeout=60)
    assert (tmp_path / "said").read_text() == "False\n"


def test_the_time_left_does_not_count_what_was_compiled(monkeypatch):
    """Ten steps a second, and one dispatch that took half a minute to compile: 640 steps take 64 seconds."""
    clock, out = iter([0.0, 100.0, 130.0, 131.0, 132.0, 133.0, 145.0]), io.StringIO()
    monkeypatch.setattr("kuttax.training.log.time.monotonic", lambda: next(clock))
    log = Log(Console(file=out, width=200), "mine", 700, None)
    for step in (10, 20, 30, 40, 50, 60):
        log(Progress(step, 1.0, 1.0, 4.0, 1.0, None))
    lines = out.getvalue().splitlines()
    assert [line for line in lines if line.startswith("mine: step 20 ")] == ["mine: step 20 of 700, loss 1, NFE 4"]
    assert lines[-1] == "mine: step 60 of 700, loss 1, NFE 4, about 0:01:04 left"
