"""Strict settings for every test: float64, no silent promotion, warnings as errors (pyproject), seeds said."""

import gc
import importlib
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")

# Most of the tests' time is XLA's, for programs that run for one small call each: the older code generator, with fewer
# optimisations, none of them of loops, and without threads, takes a third of it. Processes that tests start inherit the
# settings; what trains for long or is timed goes without. A newer XLA may not know the flags, and ends the process
# where it does not.
_OF_LOOPS = "while-loop-invariant-code-motion,simplify-while-loops,while-loop-constant-sinking"
_QUICK = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    f"--xla_disable_hlo_passes={_OF_LOOPS}",
)
if jax.__version_info__ < (0, 11):
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_QUICK])
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)

# XLA's threads are as many as this, in place of the cores: two workers have a core each.
os.environ["NPROC"] = "1"

# A bug must not look like a refusal: the command line shows its traceback, in this process and those of tests.
os.environ["KUTTAX_TRACEBACK"] = "1"

# Python looks through all that JAX keeps whenever 700 more objects live than before: a tenth of the time.
gc.set_threshold(100_000, 20, 20)

# Shapes and dtypes of the engine's own functions are checked at every call. What users call is left out: there a wrong
# type must reach kuttax's own one-line error; so are the sums of stages, whose checks are made anew for each sum.
_SOLVERS = ("base.problem", "base.solver", "rk.order", "rk.adaptive.tape")
_ENGINE = ["kuttax.adjoints.backsolve", *(f"kuttax.solvers.{name}" for name in _SOLVERS)]
with install_import_hook(_ENGINE, "strict_types.checked"):
    import kuttax

    for module in _ENGINE:  # here, not when they are first used, after the hook is gone
        importlib.import_module(module)


_MOST_BYTES = 3 * 2**30


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """What JAX has compiled stays in memory, for the tests of one file too; a large part of it is let go."""
    yield
    statm = Path("/proc/self/statm")
    if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > _MOST_BYTES:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def nothing_leaves_a_picture():
    """Whatever test draws a picture: no title, label or legend is cut off at its edges."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def checked(self, *arguments, **options):
        save(self, *arguments, **options)
        drawn, (width, height) = self.get_tightbbox(), self.get_size_inches()
        assert min(drawn.x0, drawn.y0) > -0.02, f"cut off at the left or below: {drawn}"
        assert drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02, f"cut off at the right or above: {drawn}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", checked)
        yield


@pytest.fixture
def kuttax_main(capsys):
    """Runs the command line in this process; returns exit code, standard output, standard error."""
    from kuttax.commands import main as cli

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        return (stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def seed(request) -> int:
    """A seed that depends on the test's name alone; it is printed where the test fails."""
    value = sum(request.node.name.encode()) % 10_000
    print(f"seed={value}")
    return value


@pytest.fixture
def key(seed):
    """A JAX key from the test's seed."""
    return jax.random.key(seed)


@pytest.fixture
def rng(seed) -> np.random.Generator:
    """A NumPy generator from the test's seed."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def _some_certificate():
    """A valid one: solvers agree but for a last digit, which depends on them."""
    batch = np.linspace(-1.0, 1.0, 200).reshape(100, 2)
    outputs = lambda solver, batch: batch * (1 + 1e-12 * len(str(solver)))
    predict = lambda solver, batch: kuttax.Prediction(outputs(solver, batch), np.mean(batch**2))
    found = kuttax.validity.certify(predict, kuttax.FixedSteps(kuttax.tableaus.RK4, 1), batch)
    assert found.verdict == "valid"
    return found


@pytest.fixture
def any_certificate(monkeypatch, _some_certificate):
    """All is certified with one and the same certificate: five solvers fewer to compile where nobody looks at it."""
    for module in ("kuttax.commands.run", "kuttax._fit.phases"):
        monkeypatch.setattr(importlib.import_module(module), "certify_run", lambda *_: _some_certificate)
