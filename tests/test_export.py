"""Programs for JAX without kuttax: the same numbers in a process that cannot import it."""

import subprocess
import sys
import textwrap

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax import UserError
from kuttax.commands import main as cli
from kuttax.training.checkpoint import load_run

ALONE = """
import sys
sys.modules["kuttax"] = sys.modules["equinox"] = sys.modules["diffrax"] = None  # their import fails
import jax, numpy as np
path, inputs, outputs = sys.argv[1:]
np.save(outputs, jax.export.deserialize(bytearray(open(path, "rb").read())).call(np.load(inputs)))
"""


def alone(path, inputs):
    """What a process with JAX alone makes of the inputs."""
    np.save(path.with_suffix(".in.npy"), inputs)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(ALONE),
        path,
        path.with_suffix(".in.npy"),
        path.with_suffix(".npy"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.load(path.with_suffix(".npy"))


def main(line):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    return ended.value.code


def field(t, y, args):
    return jnp.sin(y[::-1]) - jnp.asarray(0.5, y.dtype) * y


SOLVERS = {
    "fixed": kx.FixedSteps(kx.tableaus.RK4, 4),
    "learned": kx.student("per_step", 8, dtype=np.float32),
    "adaptive": kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solve_for_any_number_of_samples(name, tmp_path, rng):
    solver = SOLVERS[name]
    end = lambda y: kx.solve(field, y, 0.0, 1.0, solver=solver, batch_axis=0, throw=False).y1
    data = kx.export.to_stablehlo(end, jax.ShapeDtypeStruct((1, 2), np.float32))
    (tmp_path / "end").write_bytes(data)
    y0 = rng.standard_normal((7, 2)).astype(np.float32)
    here = np.asarray(jax.export.deserialize(bytearray(data)).call(y0))
    np.testing.assert_array_equal(here, alone(tmp_path / "end", y0))
    np.testing.assert_allclose(here, end(jnp.asarray(y0)), rtol=1e-6)


@pytest.mark.parametrize("task", ["digits", "dynamics"])
def test_the_command_writes_a_program(task, tmp_path, capsys):
    run, data = tmp_path / "run", "digits" if task == "digits" else "dynamics --system pendulum --trajectories 8"
    tiny = f"--width 4 --train-steps 2 --solver rk4 --steps 2 --out {run}"
    assert main(f"train {data} {tiny}") == 0
    assert main(f"export {run}") == 0
    assert "jax.export.deserialize" in capsys.readouterr().out
    built, model, solver = load_run(run)
    if task == "digits":
        inputs = np.asarray(built.test.x[:5])
        expected = built.predict(model, solver, jax.tree.map(lambda x: x[:5], built.test)).outputs
    else:
        few = jax.tree.map(lambda x: x[:5], built.test)
        inputs = built.scaling.mean + built.scaling.std * few.z[:, 0]
        expected = built.scaling.mean + built.scaling.std * np.asarray(built.predict(model, solver, few).outputs)
    found = alone(run / "model.stablehlo", inputs.astype(np.float32))
    np.testing.assert_allclose(found if task == "digits" else found[:, 1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("format", "name"), [("torch", "solver_torch.py"), ("numpy", "solver_numpy.py"), ("latex", "solver.tex")]
)
def test_the_command_writes_the_solver(format, name, tmp_path):
    run = tmp_path / "run"
    main(f"train digits --width 4 --train-steps 1 --solver rk4 --steps 2 --out {run}")
    assert main(f"export {run} --format {format}") == 0
    assert (run / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (lambda y: kx.solve(field, y, 0.0, 1.0, solver=SOLVERS["fixed"], batch_axis=0).y1, {}, "pass throw=False"),
        (
            lambda y: (
                kx.solve(
                    field, y, 0.0, 1.0, solver=kx.FromDiffrax(diffrax.Tsit5(), 1e-5, 1e-5), batch_axis=0, throw=False
                ).y1
            ),
            {},
            "a solver of kuttax",
        ),
        (lambda y: y, {"platforms": ("abacus",)}, "unknown platform 'abacus'; known: cpu"),
    ],
)
def test_what_cannot_be_exported_is_said(function, options, said):
    with pytest.raises(UserError, match=said):
        kx.export.to_stablehlo(function, jax.ShapeDtypeStruct((1, 2), np.float32), **options)


def test_classical_coefficients_are_exact_whatever_the_flag():
    with jax.enable_x64(False):
        table = kx.export.to_numpy(kx.FixedSteps(kx.tableaus.DOPRI5, 3))
    for found, exact in ((table.a, kx.tableaus.DOPRI5.a), (table.b, kx.tableaus.DOPRI5.b), (table.h, 1 / 3)):
        assert found.dtype == np.float64 and np.array_equal(found, np.broadcast_to(exact, found.shape))


def test_a_number_has_no_samples():
    with pytest.raises(UserError, match="batched=False"):
        kx.export.to_stablehlo(lambda x: x, jnp.zeros((), np.float32))
