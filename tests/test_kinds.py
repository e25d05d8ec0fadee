"""Arguments of the wrong kind: each entrance refuses them in one line.

In a process of its own, without the type checker of the tests, as users have it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json
import jax, jax.numpy as jnp
import kuttax as kx
from kuttax import training

RK4, key, y = kx.FixedSteps(kx.tableaus.RK4, 2), jax.random.key(0), jnp.ones((8, 2))
student, task = kx.student("shared", 4), kx.tasks.build("moons", samples=64)
field = lambda t, y, args: -y
solved = lambda **given: kx.solve(field, y, 0.0, 1.0, **{"solver": RK4, **given})
distilled = lambda field=field, **given: kx.distill(field, y, 0.0, 1.0, **{"student": student, "key": key, **given})
nothing = lambda solver, batch: None
calls = {
    "solver": lambda: solved(solver="rk4"),
    "solver: class": lambda: solved(solver=kx.FixedSteps),
    "solver: tableau": lambda: solved(solver=kx.tableaus.RK4),
    "tableau: fixed": lambda: kx.FixedSteps("rk4", 4),
    "tableau: adaptive": lambda: kx.Adaptive(kx.Tableau, 1e-3, 1e-3),
    "tableau: learned": lambda: kx.LearnedRK.from_tableau(4, 4),
    "adjoint": lambda: solved(adjoint="backsolve"),
    "adjoint: class": lambda: solved(adjoint=kx.DiscreteAdjoint),
    "adjoint: solver": lambda: kx.BacksolveAdjoint("tsit5"),
    "certify: solver": lambda: kx.certify(nothing, "rk4", y),
    "certify: predict": lambda: kx.certify(3, RK4, y),
    "certify: refine": lambda: kx.certify(nothing, RK4, y, refine=2),
    "fit: task": lambda: kx.fit("moons", nfe=4),
    "fit: class": lambda: kx.fit(type(task), nfe=4),
    "fit: settings": lambda: kx.fit(task, nfe=4, settings=3),
    "fit: options": lambda: kx.fit(task, nfe=4, options={"distill": False}),
    "fit: seed": lambda: kx.fit(task, nfe=4, seed="a"),
    "fit: seed below zero": lambda: kx.fit(task, nfe=4, seed=-1),
    "trainer: task": lambda: training.Trainer("moons", RK4, training.Settings()),
    "trainer: solver": lambda: training.Trainer(task, "rk4", training.Settings()),
    "trainer: settings": lambda: training.Trainer(task, RK4, {"train_steps": 3}),
    "trainer: seed": lambda: training.Trainer(task, RK4, training.Settings(batch_size=8)).run(True),
    "settings": lambda: training.Settings(train_steps="x"),
    "distill: field": lambda: distilled("f"),
    "distill: arguments": lambda: distilled(lambda t, y: -y),
    "distill: teacher": lambda: distilled(teacher=kx.FixedSteps),
    "distill: report": lambda: distilled(report=3),
    "distill: saved": lambda: distilled(saved=3),
    "export: function": lambda: kx.export.to_stablehlo(3, y),
    "export: arguments": lambda: kx.export.to_stablehlo(lambda y: y, "y"),
    "input": lambda: kx.ZeroOrderHold("a", 3),
    "order": lambda: kx.Tableau.explicit("own", [], [1], "1"),
    "student: dtype": lambda: kx.student("free", 4, dtype="abc"),
    "student: integers": lambda: kx.student("shared", 4, dtype=int),
    "status": lambda: kx.solvers.raise_for_status("x"),
}
said = {}
for name, call in calls.items():
    try:
        call()
        said[name] = "no error"
    except kx.UserError as error:
        said[name] = str(error)
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""

SOLVER = "must be a solver such as kx.FixedSteps(kx.tableaus.RK4, steps=8), got "
SAID = {
    "solver": f"solver {SOLVER}'rk4'",
    "solver: class": f"solver {SOLVER}the class FixedSteps: make one, FixedSteps(...)",
    "solver: tableau": f"solver {SOLVER}Tableau(name='RK4', order=4, stages=4)",
    "tableau: fixed": "tableau must be a kx.Tableau such as kx.tableaus.RK4, got 'rk4'",
    "tableau: adaptive": "got the class Tableau: make one, Tableau(...)",
    "tableau: learned": "tableau must be a kx.Tableau such as kx.tableaus.RK4, got 4",
    "adjoint": "adjoint must be a kuttax adjoint such as kx.DiscreteAdjoint(), got 'backsolve'",
    "adjoint: class": "got the class DiscreteAdjoint: make one, DiscreteAdjoint(...)",
    "adjoint: solver": f"solver {SOLVER}'tsit5'",
    "certify: solver": f"solver {SOLVER}'rk4'",
    "certify: predict": "predict must be a function of a solver and a batch, got 3",
    "certify: refine": "refine must hold 2, 4, or nothing, got 2",
    "fit: task": "task must be one such as kx.tasks.build('digits') (docs/own_task.md), got 'moons'",
    "fit: class": "got the class Classification: make one, Classification(...)",
    "fit: settings": "settings must be a kx.training.Settings(...), got 3",
    "fit: options": "options must be a kx.FitOptions(...), got {'distill': False}",
    "fit: seed": "seed must be a whole number, got 'a'",
    "fit: seed below zero": "seed must lie in [0, 4294967295], got -1",
    "trainer: task": "task must be one such as kx.tasks.build('digits') (docs/own_task.md), got 'moons'",
    "trainer: solver": f"solver {SOLVER}'rk4'",
    "trainer: settings": "settings must be a kx.training.Settings(...), got {'train_steps': 3}",
    "trainer: seed": "seed must be a whole number, got True",
    "settings": "train_steps must be a number, got 'x'",
    "distill: field": "the field must be a function f(t, y, args), got str",
    "distill: arguments": "wrap it, as in lambda t, y, args: model(y)",
    "distill: teacher": f"teacher {SOLVER}the class FixedSteps: make one, FixedSteps(...)",
    "distill: report": "report must be a function of a Progress, got 3",
    "distill: saved": "saved must be the path of a folder, got 3",
    "export: function": "function must be a function of arrays, got 3",
    "export: arguments": "the arguments after the function must be arrays, or jax.ShapeDtypeStruct(shape, dtype)",
    "input": "the times of an input must be numbers, got 'a'",
    "order": "own: order must be a whole number >= 1, got '1'",
    "student: dtype": "dtype must be jnp.float32 or jnp.float64, got 'abc'",
    "student: integers": "dtype must be jnp.float32 or jnp.float64, got <class 'int'>",
    "status": "raise_for_status takes a solution or its status, got str",
}


@pytest.fixture(scope="module")
def said():
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", SAID)
def test_a_wrong_kind_is_one_line(said, case):
    assert said[case].endswith(SAID[case]) and "\n" not in said[case]
