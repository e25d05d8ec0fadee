"""What a type checker sees of kuttax in a user's script: types, and mistakes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kuttax as kx

SCRIPT = '''"""A user's script."""

import jax.numpy as jnp
from jax import Array

import kuttax as kx


def field(t: Array, y: Array, args: Array) -> Array:
    return -args * y


def end(rate: float) -> Array:
    solver = kx.FixedSteps(kx.tableaus.RK4, steps=8)
    sol = kx.solve(field, jnp.ones(3), 0.0, 1.0, solver=solver, args=jnp.asarray(rate), ts=[0.5, 1.0])
    reveal_type(sol)
    reveal_type(sol.stats)
    if sol.status == int(kx.Status.ok):
        print(sol.stats.nfe, sol.penalty)
    return jnp.asarray(sol.y1)


def learned() -> kx.LearnedRK:
    solver = kx.LearnedRK.from_tableau(kx.tableaus.RK4, steps=2, order=2)
    reveal_type(solver.nfe)
    reveal_type(kx.tasks.build("digits"))
    return solver


def train() -> None:
    fitted = kx.fit(kx.tasks.build("digits"), nfe=8, options=kx.FitOptions(warm_up=0.1))
    reveal_type(fitted.certificate)
    kx.save("solver.json", fitted.solver)


kx.solve(field, jnp.ones(3), 0.0, 1.0, solver="rk4")  # mistake
kx.solve(field, jnp.ones(3), 0.0, "late", solver=learned())  # mistake
kx.solve(field, jnp.ones(3), 0.0, 1.0, solver=learned(), adjoint=3)  # mistake
kx.FixedSteps(kx.tableaus.RK4, stepz=8)  # mistake
kx.fit("digits", nfe=8)  # mistake
kx.solve(field, jnp.ones(3), 0.0, 1.0)  # mistake
kx.solver  # mistake
'''
REVEALED = ["Solution", "Stats", "int", "Task", "Certificate"]


def checked(script: str, folder: Path) -> str:
    """What mypy writes about a user's script."""
    pytest.importorskip("mypy")
    (folder / "user.py").write_text(script)
    cache = Path(sys.prefix) / "mypy-cache"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "user.py"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False).stdout


@pytest.mark.slow
def test_every_public_name_has_a_type(tmp_path):
    """Names that are imported when they are used are none that a type checker cannot see."""
    packages = {"kx": kx, "kx.solvers": kx.solvers, "kx.penalties": kx.penalties, "kx.tasks": kx.tasks}
    names = [f"{name}.{public}" for name, package in packages.items() for public in package.__all__]
    said = checked("\n".join(["import kuttax as kx", *(f"reveal_type({name})" for name in names)]), tmp_path)
    revealed = re.findall(r'^user\.py:\d+: note: Revealed type is "(.*)"$', said, re.MULTILINE)
    assert len(revealed) == len(names) and "Any" not in revealed, said


def test_types_and_mistakes(tmp_path):
    said = checked(SCRIPT, tmp_path)
    revealed = re.findall(r'Revealed type is "(?:[\w.]*\.)?(\w+)', said)
    assert revealed == REVEALED, said
    mistakes = [n for n, line in enumerate(SCRIPT.splitlines(), 1) if "# mistake" in line]
    assert sorted({int(n) for n in re.findall(r"user\.py:(\d+): error", said)}) == mistakes, said
