"""What README and the pages show runs as it stands."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import table
from benchmarks.results import Results
from kuttax import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


_NAMES = ("fit", "penalties", "validity", "step_control", "training", "density", "dynamics", "latent", "stochastic")
PAGES = ("README.md", *(f"docs/{page}.md" for page in _NAMES))


@pytest.mark.parametrize(
    ("page", "source"), [(page, block) for page in PAGES for block in blocks((ROOT / page).read_text(), "python")]
)
def test_python_blocks_run(page, source, capsys):
    exec(compile(source, page, "exec"), {})


def test_ten_lines_are_ten():
    lines = [line for line in blocks(README, "python")[0].splitlines() if line.strip()]
    assert len(lines) <= 13, "imports apart, the example promises ten lines"


def kuttax_commands() -> list[list[str]]:
    shown = [block for page in PAGES for block in blocks((ROOT / page).read_text(), "sh")]
    lines = [line.split("#")[0].strip() for block in shown for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("kuttax ")]


def main(*arguments) -> int:
    """The command line, in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.mark.parametrize("command", [c for c in kuttax_commands() if c[0] in ("train", "compare")], ids=" ".join)
def test_options_shown_are_known(command, capsys):
    """The options of every command shown are accepted: the parser gets to the help that follows them."""
    assert main(*command, "--help") == 0, capsys.readouterr().err


def test_experiment_runs(tmp_path, rng, capsys):
    """What the experiment's own script asks of kuttax, for two training steps of one seed; the run is narrowed to one
    method and to made images."""
    labels = np.repeat(np.arange(10), 10)
    images = rng.integers(0, 256, (100, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    script = ROOT / "experiments" / "learned-mnist" / "run.sh"
    asking = {**os.environ, "KUTTAX": "echo"}
    asked = subprocess.run(["bash", script, tmp_path, tmp_path / "out", "2", "1"], capture_output=True, env=asking)
    command = asked.stdout.decode().split()
    assert main(*command, "--help") == 0, capsys.readouterr().err
    narrow = ("--methods", "learned", "--nfe", "8", "--width", "4", "--batch-size", "10")
    assert main(*command, *narrow) == 0, capsys.readouterr().err
    assert "learned, 2 steps of 4 stages" in (tmp_path / "out" / "table.md").read_text()


def test_every_figure_in_readme_comes_from_a_record():
    """The results table of README is the one that the report draws from the experiment's records."""
    drawn = (ROOT / "experiments" / "learned-mnist" / "table.md").read_text()
    rows = [line for line in drawn.splitlines() if line.startswith("|")]
    assert rows, "the experiment has no table"
    for row in rows:
        assert row in README


@pytest.mark.parametrize("name", ["cpu", "kept-memory"])
def test_the_tables_on_performance_come_from_records(name):
    drawn = table.markdown(Results.read([str(ROOT / "benchmarks" / "records" / f"{name}.jsonl")]))
    assert drawn == (ROOT / "docs" / "performance" / f"{name}.md").read_text()


def test_the_page_on_performance_shows_the_targets_as_they_stand():
    drawn = (ROOT / "docs" / "performance" / "cpu.md").read_text()
    section = drawn.split("## Targets\n")[1].split("\n## ")[0].strip()
    assert section in (ROOT / "docs" / "performance.md").read_text()
