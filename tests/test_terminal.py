"""Where commands print to: a bar that redraws its line needs a terminal that forgets the line before."""

import os
import pty
import subprocess
import sys

import pytest

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
