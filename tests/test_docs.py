"""What README and the pages show runs as it stands; the site has every page."""

import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from slowness import slow

import kuttax
from benchmarks import table
from benchmarks.results import Results
from kuttax.commands import main as cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """Also those within a card, which are indented."""
    return [textwrap.dedent(block) for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", *DOCS)
IN_ONE_PIECE = (
    "getting_started",
    "distillation",
    "own_task",
    "pytorch",
)  # below, and in the tests of what they are about
RUN = [page for page in PAGES if Path(page).stem not in IN_ONE_PIECE]
EXAMPLES = [(page, block) for page in RUN for block in blocks((ROOT / page).read_text(), "python")]


@pytest.mark.parametrize(
    ("page", "source"),
    [slow(*example) if "kx.fit" in example[1] or example[0] != "README.md" else example for example in EXAMPLES],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, when it is imported
def test_python_blocks_run(page, source, capsys, any_certificate):
    """A block whose first line is "# needs NAME and NAME" runs where these packages are."""
    if needed := re.match("# needs (.*)", source):
        for name in needed[1].split(" and "):
            pytest.importorskip(name)
    with jax.numpy_dtype_promotion("standard"):  # as readers have it, and as optax needs it
        exec(compile(source, page, "exec"), {})


def test_no_block_escapes():
    """Python is fenced as ```python at the start of a line, or it would not be run."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert len(re.findall(r"```\s*\{?\.?py", text)) == len(blocks(text, "python")), page


@pytest.mark.slow
def test_a_newcomer_gets_from_a_file_to_forecasts(tmp_path, monkeypatch, capsys):
    """The page's blocks and its command, in its order and in an empty folder; with less training and half the width."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "getting_started.md").read_text()
    first, then = blocks(page, "python")
    (command,) = [line for line in "".join(blocks(page, "sh")).splitlines() if line.startswith("kuttax fit")]
    exec(compile(first, "getting_started.md", "exec"), {})
    assert Path("data.csv").read_text().splitlines()[0] == "trajectory,t,prey,predator"
    short = ("--train-steps", "800", "--width", "16")
    assert main(*shlex.split(command)[1:], *short) == 0, "the certificate is valid, as the page has it"
    assert all(Path("runs/mine", name).exists() for name in ("certificate.png", "forecast.png", "solver_torch.py"))
    names = {}
    exec(compile(then, "getting_started.md", "exec"), names)
    start, end = names["states"][0], names["states"][8]
    truth = solve_ivp(lambda t, x: [x[0] * (1.1 - 0.4 * x[1]), x[1] * (0.1 * x[0] - 0.4)], (0, 2), start, rtol=1e-8)
    assert names["times"][8] == pytest.approx(2.0) and end == pytest.approx(truth.y[:, -1], rel=0.2)


def test_the_site_has_every_page():
    """`make docs` refuses what is missing too; this says it where mkdocs is not installed."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert sorted(f"docs/{page}" for page in re.findall(r"[\w/-]+\.md", nav)) == DOCS


def test_the_site_asks_no_other_server():
    """Neither settings nor pages name a script, a font or a picture from elsewhere."""
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings and "//" not in settings
    for page in DOCS:
        assert not re.search(
            r"!\[[^]]*\]\(\s*https?:|<(?:img|script|link|iframe)[^>]*https?:", (ROOT / page).read_text()
        ), page


def with_exports(page: str) -> str:
    """The page as the site's hook writes it."""
    hook = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(hook)
    hook.loader.exec_module(module)
    return module.with_exports(page)


def documented() -> list[object]:
    pages = [with_exports((ROOT / page).read_text()) for page in DOCS if page.startswith("docs/api/")]
    names = [name for page in pages for name in re.findall(r"^::: (\S+)", page, re.MULTILINE)]
    return [getattr(importlib.import_module(module), name) for module, _, name in (x.rpartition(".") for x in names)]


@pytest.mark.parametrize(
    "module",
    [kuttax, kuttax.penalties, kuttax.validity, kuttax.density, kuttax.training, kuttax.tasks],
    ids=lambda module: module.__name__,
)
def test_public_names_are_on_the_pages_on_the_api(module):
    """By identity: pages may name where a thing is defined. Modules and tables of names have no entry."""
    public = {name: getattr(module, name) for name in module.__all__}
    public = {name: value for name, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)}
    missing = [name for name, value in public.items() if not any(value is one for one in documented())]
    assert public and not missing


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


@pytest.mark.parametrize("command", [c for c in kuttax_commands() if c[0] in ("fit", "train", "compare")], ids=" ".join)
def test_options_shown_are_known(command, capsys):
    """The options of every command shown are accepted: the parser gets to the help that follows them."""
    assert main(*command, "--help") == 0, capsys.readouterr().err


@pytest.mark.slow
def test_experiment_runs(tmp_path, rng, capsys, any_certificate):
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
    command[command.index("--nfe") + 1 : command.index("--nfe") + 3] = ["8"]
    narrow = ("--methods", "learned", "--width", "4", "--batch-size", "10")
    assert main(*command, *narrow) == 0, capsys.readouterr().err
    assert "learned, 2 steps of 4 stages" in (tmp_path / "out" / "table.md").read_text()


def test_every_figure_in_readme_is_a_finding_of_its_experiment():
    """The numbers of a row of the results are in README or table of the experiment that it links."""
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| \[.*\]\((experiments/.*)\) \|$", README, re.MULTILINE)
    assert len(rows) >= 5
    for what, evaluations, quality, folder in rows:
        found = "".join(path.read_text() for path in (ROOT / folder).glob("*.md")).replace("twelve", "12")
        for number in re.findall(r"\d+(?:\.\d+)?", f"{evaluations} {quality}"):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", found), (what, number)


@pytest.mark.parametrize("name", ["cpu", "kept-memory"])
def test_the_tables_on_performance_come_from_records(name):
    drawn = table.markdown(Results.read([str(ROOT / "benchmarks" / "records" / f"{name}.jsonl")]))
    assert drawn == (ROOT / "docs" / "performance" / f"{name}.md").read_text()


def test_the_page_on_performance_shows_the_targets_as_they_stand():
    drawn = (ROOT / "docs" / "performance" / "cpu.md").read_text()
    section = drawn.split("## Targets\n")[1].split("\n## ")[0].strip()
    assert section in (ROOT / "docs" / "performance.md").read_text()
