"""Start: kuttax imports what is used, when it is used, and starts in little time.

Each case is a process of its own. Times are of the CPU, user and system, the least of several.
"""

import json
import os
import resource
import subprocess
import sys

import pytest

ENGINE = "import kuttax as kx; kx.solve; kx.Adaptive; kx.FixedSteps"
COMMANDS = ("fit", "train", "compare", "evaluate", "certify", "distill", "report")
OF_DATA_AND_REPORTS = {"sklearn", "matplotlib", "jinja2", "pooch", "pandas"}
OF_SCIPY = {f"scipy.{part}" for part in ("integrate", "interpolate", "optimize", "stats", "special")}
OF_COMMANDS = {"tyro", "rich"}
OF_OTHER_ENGINES = {"diffrax", "optimistix", "lineax", "optax"}
HEAVY = {"jax", "numpy", "equinox", "scipy", *OF_OTHER_ENGINES, *OF_DATA_AND_REPORTS, *OF_SCIPY, *OF_COMMANDS}


def loaded(code: str) -> set[str]:
    """The modules that a process has at its end."""
    listed = "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps(list(sys.modules))))"
    run = subprocess.run([sys.executable, "-c", f"{listed}\n{code}"], capture_output=True, text=True, timeout=120)
    return set(json.loads(run.stdout.splitlines()[-1]))


def command(*words: str) -> str:
    """A program that runs kuttax with these words."""
    return f"from kuttax.commands.main import main\nmain({list(words)})"


@pytest.mark.parametrize(
    "code",
    [
        "import kuttax; kuttax.__version__, kuttax.__all__, dir(kuttax)",
        "import kuttax; list(kuttax.tasks.TASKS)",
        "import kuttax; 'RK4' in dir(kuttax.solvers)",
        command("--version"),
        command("--help"),
        command("nonsense"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_known_to_be_used(code):
    assert not loaded(code) & HEAVY


def test_the_engine_imports_jax_and_equinox_alone():
    solves = "kx.solve(lambda t, y, args: -y, 1.0, 0.0, 1.0, solver=kx.FixedSteps(kx.tableaus.RK4, 2))"
    for code in (ENGINE, f"{ENGINE}; {solves}"):
        assert loaded(code) & HEAVY == {"jax", "numpy", "equinox"}


@pytest.mark.slow
def test_all_public_names_import_nothing_of_data_and_reports():
    assert not loaded("from kuttax import *") & {*OF_DATA_AND_REPORTS, *OF_SCIPY}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_nothing_of_data_and_reports(name):
    assert not loaded(command(name, "--help")) & {*OF_DATA_AND_REPORTS, *OF_SCIPY}


@pytest.mark.slow
def test_solver_files_are_read_before_the_class_of_the_solver_was_used(tmp_path):
    """Each class that kuttax registers, in a process that has used none of them."""
    writes = f"""
import diffrax, jax, jax.numpy as jnp, kuttax as kx
jax.config.update("jax_enable_x64", True)
rk4 = kx.tableaus.RK4
kinds = [
    kx.FixedSteps(rk4, 3), kx.Adaptive(kx.tableaus.TSIT5, 1e-5, 1e-6), kx.LearnedRK.from_tableau(rk4, steps=2),
    kx.Reversible(kx.FixedSteps(rk4, 3)), kx.EulerMaruyama(3), kx.Milstein(3), kx.Platen(3), kx.StochasticHeun(3),
    kx.SRK(3), kx.LearnedSRK.from_tableau(steps=2), kx.FromDiffrax(diffrax.SPaRK(), 1e-2, 1e-2),
]
from kuttax.solvers.base.registry import _KINDS
assert {{type(kind).__name__ for kind in kinds}} == set(_KINDS)
for kind in kinds:
    kx.save({str(tmp_path)!r} + f"/{{type(kind).__name__}}.json", kind)
"""
    subprocess.run([sys.executable, "-c", writes], check=True, timeout=120)
    files = sorted(map(str, tmp_path.iterdir()))
    assert len(files) == 11
    reads = "import sys, kuttax as kx; print(*(type(kx.load(path)).__name__ for path in sys.argv[1:]))"
    run = subprocess.run([sys.executable, "-c", reads, *files], capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == [os.path.basename(path).removesuffix(".json") for path in files], run.stderr


@pytest.mark.slow
def test_a_stranger_cannot_take_the_name_of_a_class_that_was_not_used_yet():
    code = """
import kuttax as kx
try:
    @kx.register_solver()
    class Milstein(kx.AbstractFixedStepSolver): pass
except kx.UserError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "another solver is registered as Milstein" in run.stdout


def seconds(*arguments: str, repeats: int = 4) -> float:
    """The CPU time of a Python process, the least of several: other work on the machine only adds to it."""
    found = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=120)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


@pytest.fixture(scope="module")
def of_diffrax():
    """The time that `import diffrax` takes here: the unit of the bounds below."""
    if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        pytest.skip("coverage takes the most of the time")
    return seconds("-c", "import diffrax")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (["-c", "import kuttax"], 0.2),
        (["-c", ENGINE], 1.2),
        (["-m", "kuttax", "--version"], 0.3),
        (["-m", "kuttax", "--help"], 0.3),
        (["-m", "kuttax", "train", "digits", "--help"], 2.5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_start_takes_at_most_so_many_imports_of_diffrax(of_diffrax, arguments, most):
    """Measured when this was written: 0.03, 0.85, 0.05, 0.05 and 1.6."""
    assert seconds(*arguments) <= most * of_diffrax
