"""fit: the budget is kept, the verdict is the field's, the smallest budget that passes is that of the closed form."""

import io
import json
import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_flow import Flow
from rich.console import Console
from scipy.linalg import expm
from slowness import mostly_slow

import kuttax as kx
from kuttax._fit import phases
from kuttax._fit.search import first_found
from kuttax.commands import fit as fit_command
from kuttax.commands import main as cli
from kuttax.distillation.progress import Progress as DistillationProgress
from kuttax.errors import UserError
from kuttax.io.folder import Folder
from kuttax.tasks.base import Trajectories
from kuttax.tasks.registry import build
from kuttax.training import log
from kuttax.training.loop import Progress
from kuttax.training.settings import Settings

QUICK = Settings(train_steps=40, evaluations=2, per_dispatch=10, batch_size=32, lr=0.05)


class Whole(Flow):
    """With a penalty, trajectories and test data."""

    def __init__(self):
        super().__init__()
        self.test = self._pairs(2)

    loss_options = ("penalty",)

    def loss(self, model, solver, batch, key, penalty=None):
        sol = self._solve(model, solver, batch, penalty=penalty, key=key)
        square = jnp.mean((sol.y1 - batch.y) ** 2)
        log = {"nfe": jnp.asarray(sol.stats.nfe, float).mean(), "metric": jnp.sqrt(square), "status": sol.status}
        return square + sol.penalty, log

    def _solve(self, model, solver, batch, **asked):
        field = lambda t, y, args: args @ y
        options = {"args": model["w"], "batch_axis": 0, "max_steps": 64, "throw": False, **asked}
        return kx.solve(field, jnp.asarray(batch.x), *self.interval, solver=solver, **options)

    def trajectories(self, model, batch):
        return Trajectories(lambda t, y, args: args @ y, jnp.asarray(batch.x), *self.interval, model["w"])


class Told(Whole):
    """Its metric in training is the progress that the loss is told."""

    loss_options = ("penalty", "progress")

    def loss(self, model, solver, batch, key, penalty=None, progress=1.0):
        value, log = super().loss(model, solver, batch, key, penalty)
        return value, {**log, "metric": jnp.asarray(progress)}


@pytest.fixture(scope="module")
def fitted():
    stages = []
    found = kx.fit(Told(), nfe=4, settings=QUICK, seed=0, report=lambda *said: stages.append(said))
    return found, stages


def test_the_budget_is_kept_and_the_field_is_an_ode(fitted):
    """The model's own matrix exponential gives the predictions of its solver."""
    found, _ = fitted
    assert found.solver.nfe == 4 and found.verdict == "valid" and found.least_nfe is None
    task = Whole()
    own = task._solve(found.model, found.solver, task.test).y1
    exact = task.test.x @ expm(np.asarray(found.model["w"])).T
    far = np.linalg.norm(own - exact, axis=1) / np.sqrt(np.mean(np.sum(exact**2, axis=1)))
    assert np.quantile(far, 0.95) < 0.05


def test_stages_are_told_in_order(fitted):
    found, said = fitted
    assert [stage.name for stage in found.history][:2] == ["warm-up", "training"]
    told = [(name, steps, now.step) for name, steps, now in said]
    ends = [("warm-up", 10, 10), ("training", 30, 30)]
    assert [one for one in told if one[1] == one[2]] == ends and told == sorted(told, key=lambda one: (one[1], one[2]))
    assert found.history[0].validation.nfe > 4 == found.history[1].validation.nfe
    assert str(found).count("\n") == len(found.history)


def test_progress_is_that_of_the_whole(fitted):
    """Means over the steps of a dispatch, of forty in all, of which ten are the warm-up."""
    _, said = fitted
    ends = [now.step + (10 if name == "training" else 0) for name, _, now in said]
    means = [(begin + end - 1) / 2 / 40 for begin, end in pairwise([0, *ends])]
    np.testing.assert_allclose([now.metric for *_, now in said], means, rtol=1e-6)


def test_the_warm_up_looks_at_a_step_of_the_budget_between_output_times(monkeypatch):
    class Seen(Exception):
        pass

    def penalty(*, steps):
        raise Seen(steps)

    monkeypatch.setattr(phases, "LocalError", penalty)
    for intervals in (1, 3):
        task = Whole()
        task.intervals = intervals
        with pytest.raises(Seen, match=f"^{2 * intervals}$"):
            kx.fit(task, nfe=8, settings=QUICK)


def test_a_task_may_weigh_the_warm_up_s_penalty_itself():
    class Seen(Exception):
        pass

    def penalty(steps):
        raise Seen(steps)

    task = Whole()
    task.warm_up_penalty = penalty
    with pytest.raises(Seen, match=r"^2$"):
        kx.fit(task, nfe=8, settings=QUICK)


def test_every_lever_can_be_switched_off():
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0, distill=False)
    found = kx.fit(Whole(), nfe=4, settings=QUICK, options=off)
    assert found.solver == kx.FixedSteps(kx.tableaus.RK4, 1)
    assert {stage.name for stage in found.history} <= {"training", "more evaluations"}


def test_a_solver_that_does_not_get_through_the_field_ends_no_fit(monkeypatch):

    def lost(*given):
        raise kx.SolveError(kx.Status.non_finite, "lost")

    monkeypatch.setattr(phases, "evaluate", lost)
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0, distill=False)
    found = kx.fit(Whole(), nfe=2, stages=1, settings=QUICK, options=off, most_nfe=3)
    tried = found.history[-1]
    assert tried.name == "more evaluations" and math.isnan(tried.validation.metric)


@pytest.mark.slow
def test_a_classical_scheme_is_trained_with_and_a_learned_one_fitted_to_its_field():
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0)
    found = kx.fit(Whole(), nfe=3, settings=QUICK, options=off)
    trained, fitted = found.history[:2]
    assert (trained.name, fitted.name) == ("training", "distillation")
    assert trained.solver.startswith("FixedSteps(") and isinstance(found.solver, kx.LearnedRK)
    task, exact = Whole(), expm(np.asarray(found.model["w"], float))
    rmse = [
        np.sqrt(np.mean((np.asarray(task._solve(found.model, solver, task.test).y1) - task.test.x @ exact.T) ** 2))
        for solver in (kx.FixedSteps(kx.tableaus.HEUN3, 1), found.solver)
    ]
    assert rmse[1] < 0.9 * rmse[0]


@pytest.mark.slow
def test_a_task_without_penalties_is_trained_without_them():
    found = kx.fit(Flow(), nfe=4, settings=QUICK)
    assert found.history[0].name == "training"


def deviating(w, starts, steps):
    """The share of samples that Euler's method takes more than 5 % away from the exact flow, in closed form."""
    own = starts @ np.linalg.matrix_power(np.eye(2) + w / steps, steps).T
    exact = starts @ expm(w).T
    far = np.linalg.norm(own - exact, axis=1) / np.sqrt(np.mean(np.sum(exact**2, axis=1)))
    return np.mean(far > 0.05)


@pytest.mark.parametrize("allow_more", mostly_slow([False, True], True))
def test_the_least_budget_is_the_first_that_is_beyond_doubt(allow_more):
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0, distill=False)
    task = Whole()
    found = kx.fit(task, nfe=2, stages=1, settings=QUICK, options=off, allow_more=allow_more, most_nfe=200)
    w, starts = np.asarray(found.model["w"], float), task.validation.x
    assert found.least_nfe is not None and found.least_nfe > 2
    assert deviating(w, starts, found.least_nfe) <= 0.05
    tried = {round(s.validation.nfe): s.verdict == "valid" for s in found.history if s.name == "more evaluations"}
    assert [tried[nfe] for nfe in sorted(tried)] == sorted(tried.values())
    before = max(nfe for nfe, valid in tried.items() if not valid)
    assert found.least_nfe == min(nfe for nfe, valid in tried.items() if valid)
    assert before < found.least_nfe <= math.ceil(1.25 * before)
    assert found.solver.steps == (found.least_nfe if allow_more else 2)
    assert (found.verdict == "valid") == allow_more


def test_no_budget_is_enough_where_the_search_ends():
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0, distill=False)
    found = kx.fit(Whole(), nfe=2, stages=1, settings=QUICK, options=off, allow_more=True, most_nfe=3)
    assert found.least_nfe is None and found.verdict != "valid" and found.solver.steps == 2


def test_it_descends_to_the_fewest_steps_that_are_valid_at_no_loss():
    """From a budget that is more than enough: step by step, each with a certificate, until one fails."""
    off = kx.FitOptions(warm_up=0.0, learned="never", consistency=0.0, distill=False)
    task = Whole()
    found = kx.fit(task, nfe=12, settings=QUICK, options=off, least=True)
    tried = [phase for phase in found.history if phase.name.startswith("fewer evaluations")]
    kept = [phase for phase in tried if phase.name == "fewer evaluations"]
    assert [phase.validation.nfe for phase in tried] == [8, 4][: len(tried)] and kept
    assert found.verdict == "valid" and found.solver.nfe == 12 - 4 * len(kept)
    assert len(tried) > len(kept) or found.solver.steps == 1
    assert all(phase.verdict == "valid" for phase in kept)
    w, starts = np.asarray(found.model["w"], float), task.validation.x
    one = sum(np.linalg.matrix_power(w / found.solver.steps, k) / math.factorial(k) for k in range(5))  # RK4
    own = starts @ np.linalg.matrix_power(one, found.solver.steps).T
    far = np.abs(own - starts @ expm(w).T) / np.std(starts @ expm(w).T, axis=0)
    assert np.mean(far.max(axis=1) > 0.05) <= 0.05


@pytest.mark.parametrize("rungs", [1, 2, 7, 16])
def test_the_first_rung_is_found_in_few_looks(rungs):
    for first in range(rungs + 1):
        looked = []
        look = lambda rung: looked.append(rung) or (rung if rung >= 10 + first else None)  # noqa: B023
        assert first_found(look, range(10, 10 + rungs)) == (10 + first if first < rungs else None)
        assert len(looked) == len(set(looked)) <= 1 + 2 * math.log2(rungs + 1)


@pytest.mark.slow
def test_too_few_samples_are_no_cause_to_look_for_a_larger_budget():
    task = Whole()
    task.validation = jax.tree.map(lambda x: x[:20], task.validation)  # 59 are the least that show anything
    found = kx.fit(task, nfe=8, settings=QUICK, options=kx.FitOptions(warm_up=0.0, distill=False))
    assert found.verdict == "undecided" and found.certificate.lacks_samples and found.least_nfe is None
    assert "more evaluations" not in [stage.name for stage in found.history]


class Killed(Exception):
    """As if the process had ended."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["warm-up", "training"])
def test_it_resumes_bit_for_bit(stage, fitted, tmp_path):
    def killer(name, steps, now):
        if name == stage:
            raise Killed

    with pytest.raises(Killed):
        kx.fit(Whole(), nfe=4, settings=QUICK, seed=0, report=killer, saved=tmp_path)
    found = kx.fit(Whole(), nfe=4, settings=QUICK, seed=0, saved=tmp_path, resume=True)
    for a, b in zip(
        *map(jax.tree.leaves, ((found.model, found.solver), (fitted[0].model, fitted[0].solver))), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"nfe": 0}, "nfe must be a whole number >= 1"),
        ({"nfe": 2.5}, "nfe must be a whole number >= 1"),
        ({"nfe": 6, "stages": 4}, "nfe 6 is no multiple of 4 stages"),
        ({"nfe": 6, "stages": 0}, "stages must be a whole number >= 1, got 0"),
        ({"nfe": 8, "most_nfe": 4}, "most_nfe must be at least the budget"),
        ({"nfe": 4, "least": True}, "least takes steps away from a solver, and this one has one step: begin with two"),
    ],
)
def test_a_budget_that_cannot_be_is_one_line(options, says):
    with pytest.raises(UserError, match=says) as error:
        kx.fit(Whole(), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"warm_up": 1.0}, {"warm_up": -0.1}, {"consistency": -1.0}, {"learned": "no"}])
def test_levers_out_of_range_are_refused(options):
    with pytest.raises(UserError, match="must"):
        kx.FitOptions(**options)


def command(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", *map(str, arguments)])
    return stop.value.code or 0


TINY = (
    *("--nfe=4", "--width=4", "--train-steps=20", "--per-dispatch=5", "--evaluations=1"),
    *("--batch-size=72", "--no-distill"),
)


@pytest.mark.slow
def test_the_command_saves_what_it_says(tmp_path, capsys):
    out = tmp_path / "run"
    code = command("digits", *TINY, "--out", out)
    said = capsys.readouterr().out
    record = json.loads((out / "record.json").read_text())
    assert code == (record["certificate"]["verdict"] != "valid")
    assert f"still an ODE: {record['certificate']['verdict']}" in said
    assert record["nfe"] == 4 and record["budget"] == 4 and record["stages"][0]["name"] == "warm-up"
    for name in ("model.eqx", "solver.json", "solver_torch.py", "certificate.json", "certificate.png"):
        assert (out / name).stat().st_size > 0
    assert not (out / "checkpoints").exists()
    rows = [json.loads(line) for line in (out / "metrics-training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15]
    with pytest.raises(SystemExit) as stop:
        cli.main(["certify", str(out)])
    assert (stop.value.code or 0) == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["digits", "--nfe", "0"], "--nfe must be >= 1, got 0"),
        (["digits", "--warm-up", "2"], "--warm-up must lie in"),
        (["nothing"], "unknown task 'nothing'"),
        (["--nfe", "8"], "fit needs a TASK first"),
        (["digits", "--overwrite", "--resume"], "contradict each other"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"irregular": 0.3}, {}])
def test_a_solver_is_distilled_only_where_all_trajectories_follow_one_field(options):
    """Else the refusal of the distillation would come when all is trained, and lose it."""
    sizes = {"system": "pendulum", "trajectories": 6, "samples": 30, "horizon": 3, "width": 4}
    task = build("dynamics", **sizes, **options)
    assert phases.can_distill(task, kx.FixedSteps(kx.tableaus.RK4, 2)) == (not options)


@pytest.mark.parametrize("size", [1, 2, 64, 784, 3 * 32 * 32, 11 * 32 * 32, 10**7])
def test_distilling_for_images_takes_no_longer_than_for_points(size):
    """The work is bounded, up to the least that a fit of two dozen numbers needs."""
    starts, steps = phases.starts_and_steps(size)
    assert 32 <= starts <= 512 and 25 <= steps <= 500
    assert starts * size <= max(2**17, 32 * size) and starts * size * steps <= max(2**23, 32 * size * 25)


@pytest.mark.parametrize("lines", [True, False])
def test_where_a_distillation_is(lines, monkeypatch, tmp_path):
    """Without a terminal a line now and then; between stages of training, whose logs are not open at the same time."""
    now = DistillationProgress("fit", 3, 500, 0.01, 65.0, math.nan)
    monkeypatch.setattr(log, "EVERY", 0.0 if lines else 1e9)
    written = io.StringIO()
    with fit_command.Logs(Console(file=written, width=100), Folder(tmp_path, "fit")) as logs:
        logs("training", 10, Progress(10, 0.5, 0.9, 8.0, 1.0, None))
        logs.distilling(now)
        logs.distilling(now._replace(done=4))
        logs("fewer-evaluations-7", 10, Progress(1, 0.5, 0.9, 8.0, 1.0, None))
        logs.distilling(now)
    found = [line for line in written.getvalue().splitlines() if line.startswith("distillation")]
    said = "distillation, fit: {} of 500 steps, error 0.01 on the held-out starts, 65 s"
    assert found == ([said.format(done) for done in (3, 4, 3)] if lines else [])
    assert len(list(tmp_path.glob("metrics-*.jsonl"))) == 2
