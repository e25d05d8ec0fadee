"""Options: each one that is given changes something that is used, or is refused; numbers have bounds on both sides.

The options come from the dataclasses, so that one added later is tried too. What is used is what was built: the data,
the traced loss and predictions of the task, the solver, the penalty's weights, the optimiser's updates, the guard.
"""

import dataclasses
import functools
import hashlib
import shlex
import types
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax._fit import phases
from kuttax._fit.budget import solver_of
from kuttax.commands import certify as certify_command
from kuttax.commands import compare as compare_command
from kuttax.commands import distill as distill_command
from kuttax.commands import evaluate as evaluate_command
from kuttax.commands import fit as fit_command
from kuttax.commands import main as cli
from kuttax.commands import train as train_command
from kuttax.commands.batch import batch, compared_run
from kuttax.commands.run import reference
from kuttax.data import Dataset
from kuttax.data.images import cifar10, mnist
from kuttax.data.series import aeon_sets, physionet
from kuttax.data.series.labelled import Labelled
from kuttax.data.series.series import Observed
from kuttax.data.tables import maf
from kuttax.data.tables.points import PointSplits, points
from kuttax.io.folder import Folder
from kuttax.options.bounds import declared
from kuttax.options.unused import flag
from kuttax.tasks.abilities import calculus_of, takes
from kuttax.tasks.base import Trajectories
from kuttax.tasks.registry import TASKS, build
from kuttax.training import loop
from kuttax.training.guard import guard_of
from kuttax.training.optimiser import optimiser
from kuttax.training.part import Ended

OF_A_FOLDER = {"out", "overwrite", "resume", "distributed", "workers", "scheduler"}
"""Options whose effect depends on what lies in a folder or is plugged into the machine."""


class Captured(Exception):
    """What a command was about to train."""

    def __init__(self, arguments, options):
        self.arguments, self.options = arguments, options


# What is used


def digest(tree):
    """Of all numbers in a tree."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def traced(function, *shapes):
    """The program of a function, with the numbers that it closes over."""
    program = jax.make_jaxpr(function)(*shapes)
    return str(program.jaxpr) + digest(program.consts)


def used_of_solver(solver):
    dynamic, static = eqx.partition(solver, eqx.is_array)
    return str(jax.tree.structure(static)) + repr(jax.tree.leaves(static)) + digest(dynamic)


@functools.cache
def used_of_settings(settings, shapes):
    """What the optimiser makes of gradients of a field and of a solver's parameters of these shapes, and what becomes
    of steps that fail."""
    values = {"field": jnp.ones(1), "solver": [jnp.ones(shape) for shape in shapes]}
    groups = jax.tree_util.tree_map_with_path(lambda path, _: path[0].key, values)
    rule = optimiser(settings, groups)
    state, updates = rule.init(values), []
    for _ in range(3):
        with jax.numpy_dtype_promotion("standard"):  # optax's own
            update, state = rule.update(values, state)
        updates.append(update)
    loop = (settings.train_steps, settings.batch_size, settings.evaluations, settings.per_dispatch)
    lost = settings.most_failures if settings.on_failure != "raise" else None  # else the first failure ends training
    return digest(updates), loop, settings.on_failure, str(guard_of(settings)), lost


def used_of_task(task, solver, penalty):
    """Data, and the programs of loss and predictions, with the solver and by the reference."""
    data = digest((task.train, task.validation, task.test))
    shape = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x[:2].shape, x.dtype), tree)
    key = jax.eval_shape(lambda: jax.random.key(0))
    model, batch = eqx.filter_eval_shape(task.init, key), shape(task.train)
    array, static = eqx.partition(model, lambda x: isinstance(x, jax.ShapeDtypeStruct))

    def loss(array, batch, key, progress):
        told = {"progress": progress} if "progress" in takes(task) else {}
        asked = {} if penalty is None else {"penalty": penalty.at(jnp.asarray(0))}
        return task.loss(eqx.combine(array, static), solver, batch, key, **told, **asked)

    predict = lambda array, batch: task.predict(eqx.combine(array, static), solver, batch).metric
    progress = jax.ShapeDtypeStruct((), jnp.float32)
    programs = traced(loss, array, batch, key, progress), traced(predict, array, batch)
    most = task.max_steps if solver.chooses_steps or reference(task).chooses_steps else None
    long = [getattr(task, name, None) for name in ("forecast_length", "lyapunov", "curriculum", "horizon")]
    return data, programs, most, long, task.metric


def used_of_penalty(penalty):
    """What it is, and its weight early and late."""
    early, late = (penalty.at(jnp.asarray(step)).terms for step in (0, 100))
    kinds = [str(one) for _, one in late]
    return kinds, digest(eqx.filter([one for _, one in late], eqx.is_array_like)), [float(w) for w, _ in early + late]


def used_of_trainer(trainer, *, task=True):
    penalty = trainer.penalty
    learned = jax.tree.leaves(eqx.filter(trainer.solver, kx.trainable(trainer.solver)))
    return {
        "solver": used_of_solver(trainer.solver),
        "penalty": None if penalty is None else used_of_penalty(penalty),
        "settings": used_of_settings(trainer.settings, tuple(leaf.shape for leaf in learned if leaf.size)),
        "control": str(trainer.control),
        "task": used_of_task(trainer.task, trainer.solver, penalty) if task else None,
    }


# Commands up to where training begins


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table of points, one of trajectories and one of labelled series."""
    directory, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    np.savetxt(directory / "points.csv", rng.normal(size=(40, 2)), delimiter=",", header="a,b", comments="")
    rows = [(i, 0.1 * k, *rng.normal(size=2)) for i in range(6) for k in range(30)]
    np.savetxt(directory / "paths.csv", rows, delimiter=",", header="trajectory,t,x1,x2", comments="")
    driven = np.column_stack([rows, rng.normal(size=len(rows))])
    np.savetxt(directory / "driven.csv", driven, delimiter=",", header="trajectory,t,x1,x2,u1", comments="")
    rows = [(i, 0.1 * k, *rng.normal(size=2), i % 4) for i in range(24) for k in range(6)]
    np.savetxt(directory / "labelled.csv", rows, delimiter=",", header="series,t,x,y,label", comments="", fmt="%g")
    return directory


@pytest.fixture
def used(monkeypatch, tmp_path):
    """Runs a command line up to where training begins; returns what it uses, or the refusal."""
    monkeypatch.chdir(tmp_path)
    for module, load in ((mnist, "load"), (mnist, "load_fashion"), (cifar10, "load")):
        monkeypatch.setattr(module, load, lambda data_dir=None: (_images(100, data_dir), _images(20, data_dir)))
    monkeypatch.setattr(maf, "load", lambda name, data_dir=None: _table(name, data_dir))
    monkeypatch.setattr(physionet, "load", _stays)
    monkeypatch.setattr(aeon_sets, "load", _archived)

    def stop(*arguments, **options):
        raise Captured(arguments, options)

    monkeypatch.setattr(train_command, "train", stop)
    monkeypatch.setattr(fit_command, "fit", stop)
    monkeypatch.setattr(batch, "draw", lambda *_: None)

    def run(line, *, task=True):
        rows = []

        def one(trainer, seed, about, options, directory, console, checkpoints, resume):
            rows.append((seed, used_of_trainer(trainer, task=task), checkpoints.every))
            values = dict.fromkeys(("validation", "test", "nfe", "train_seconds"), 1.0)
            return {"kind": "run", **about, "seed": seed, "metric": {"name": "accuracy", "unit": "%"}, **values}

        monkeypatch.setattr(compared_run, "run", one)
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        try:
            cli.main([*shlex.split(line), "--out", str(out)])
        except SystemExit as stop:
            return rows if stop.code in (0, None) else stop.code
        except Captured as captured:
            arguments, options = captured.arguments, captured.options
        if line.startswith("fit"):
            return _used_by_fit(arguments[0], options, task)
        trainer, seed, _, _, _, checkpoints = arguments
        try:
            return seed, used_of_trainer(trainer, task=task), checkpoints.every
        except kx.UserError:  # training would begin with it
            return 2

    return run


def _images(n, data_dir):
    rng = np.random.default_rng(len(str(data_dir)))
    return Dataset(rng.random((n, 1, 6, 6), np.float32), np.arange(n) % 10)


def _table(name, data_dir):
    rng = np.random.default_rng(len(str(data_dir)))
    return PointSplits(*(points(name, rng.normal(size=(12, 3))) for _ in range(3)))


def _stays(data_dir=None):
    rng = np.random.default_rng(len(str(data_dir)))
    for _ in range(12):
        times = np.sort(rng.choice(48, 4, replace=False)).astype(float)
        yield Observed(times, rng.random((4, 41)), rng.random((4, 41)) < 0.5)


def _archived(name, data_dir=None):
    rng = np.random.default_rng(len(name) + len(str(data_dir)))
    parts = [Labelled(rng.random((n, 5, 1)), np.tile(np.arange(5.0), (n, 1)), np.arange(n) % 2) for n in (20, 8)]
    return *parts, ("x1",), ("a", "b")


def _used_by_fit(task, options, with_task):
    """The trainers, distillations and certificates that a fit would make; nothing is trained."""
    made = []

    class Noted(loop.Trainer):
        def run(self, seed, report, checkpoints, start, after=None):
            made.append((used_of_trainer(self, task=with_task), self.part, seed))
            evaluation = loop.Evaluation(0.0, 0.0, 1.0)
            model = self.task.init(jax.random.key(0))
            return loop.Trained(model, self.solver, 1, evaluation, 0.0, 0.0, 0.0, Ended(model, None))

    chosen, settings, calculus = options["options"], options["settings"], calculus_of(task)
    work = phases.Work(task, settings, options["seed"], lambda *_: None)
    start = solver_of(options["nfe"], options["stages"], learned=chosen.learns(calculus), calculus=calculus)
    steps = phases.warm_up_steps(task, chosen, settings)
    valid = types.SimpleNamespace(verdict="valid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "Trainer", Noted)
        patch.setattr(phases, "_certificate", lambda *_: valid)
        if steps:
            phases.warm_up(work, start.steps, steps)
        phases.train(work, chosen, None, start, steps)
    distills = chosen.distill and phases.can_distill(task, start)
    return made, distills, options["allow_more"], options["least"]


# Values that are not the default


VALUES = {
    "solver": "dopri5", "width": "5", "steps": "3", "stages": "3", "order": "1", "penalty": "kinetic",
    "penalty_weight": "0.7", "penalty_decay": "0.004", "methods": "rk4", "penalties": "kinetic", "nfe": "6",
    "data": "pinwheel", "observed": "0.4", "rounding": "0.2", "curriculum": "1", "horizon": "2",
    "forecast_length": "3", "batch_size": "4", "samples": "24", "train_steps": "140", "trajectories": "7",
    "held_out": "0.3", "validation_fraction": "0.3", "system": "pendulum", "file": None, "dimension": "3",
    "first_step": "0.3", "log_signature": "2", "test_samples": "15", "warm_up": "0.5", "segments": "2",
    "shard": "2/2",
}  # fmt: skip
"""A value for the names whose type does not say one; None leaves the option out: contexts have it."""

COLUMNS = {
    "time": "x1", "state": "x1", "control_input": "x1", "trajectory": "x1", "delimiter": "tab", "series": "x",
    "label": "x", "channel": "x", "column": "a",
}  # fmt: skip
"""Values for the options that name columns of a file."""


def other_values(kind, name):
    """The option with values that are not its default."""
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    if name in VALUES:
        value = VALUES[name] if VALUES[name] != str(field.default) else "2"
        return [f"{flag(name)} {value}"] if value else []
    hint = get_type_hints(kind)[name]
    if hint is bool:
        return [flag(f"no_{name}" if field.default else name)]
    if get_origin(hint) is Literal:
        return [f"{flag(name)} {value}" for value in get_args(hint) if value != field.default]
    if int in (hint, *get_args(hint)):
        return [f"{flag(name)} {3 if field.default != 3 else 4}"]
    if name in COLUMNS:
        return [f"{flag(name)} {COLUMNS[name]}"]
    if float in (hint, *get_args(hint)):
        return [f"{flag(name)} {0.25 if field.default != 0.25 else 0.3}"]
    assert Path in (hint, *get_args(hint)), f"no value for {name}: add one to VALUES"
    return [f"{flag(name)} elsewhere"]


def names_of(kind):
    """The options of a dataclass, those of dataclasses in it included, as (dataclass, name)."""
    for field in dataclasses.fields(kind):
        hint = get_type_hints(kind)[field.name]
        if dataclasses.is_dataclass(hint):
            yield from names_of(hint)
        elif field.name not in OF_A_FOLDER:
            yield kind, field.name


def unused(used, base, context, names, *, task):
    """The options that, beside a context, neither change what is used nor are refused."""
    before = used(base + context, task=task)
    assert not isinstance(before, int), f"the context is refused: {base + context}"
    found = []
    for owner, name in names:
        lines = [f"{base}{context} {option}" for option in other_values(owner, name)]
        if lines and flag(name) not in context.split() and all(used(line, task=task) == before for line in lines):
            found += lines
    return found


TINY = {
    "digits": "--width 3 --batch-size 8",
    "mnist": "--width 3 --batch-size 8",
    "spheres": "--samples 60 --test-samples 10 --width 3 --batch-size 8",
    "density": "--width 3 --batch-size 8",
    "flow": "--width 3 --batch-size 8",
    "dynamics": "--width 3 --batch-size 8 --horizon 3",
    "latent": "--width 3 --batch-size 4",
    "series": "--width 3 --state 4 --batch-size 4",
    "spiral-sde": "--trajectories 20 --held-out 8 --batch-size 8",
    "mnist-sde": "--width 3 --batch-size 8",
}
GENERATED, POINTS = " --trajectories 6 --samples 30 --system pendulum", " --samples 40 --test-samples 10"
OF_TASKS = {
    "digits": ["", " --penalty kinetic"],
    "mnist": [""],
    "spheres": [""],
    "density": [
        POINTS, " --data digits", " --data wine", " --data power", " --file points.csv", f"{POINTS} --penalty kinetic",
    ],
    "flow": [POINTS, " --file points.csv"],
    "dynamics": [
        GENERATED, f"{GENERATED} --field bilinear", f"{GENERATED} --segments 2", " --trajectories 2 --samples 60",
        f"{GENERATED} --field physics --noise 0.1", " --file paths.csv",
        " --file driven.csv",
    ],
    "latent": [" --samples 20", " --samples 20 --kl 0", " --data physionet", " --file labelled.csv"],
    "series": [" --samples 20", " --samples 20 --path cubic", " --data GunPoint", " --file labelled.csv"],
    "spiral-sde": ["", " --solver spark"],
    "mnist-sde": ["", " --solver spark"],
}  # fmt: skip
"""What the task's options are tried beside."""


@pytest.mark.parametrize("name", mostly_slow(TASKS, "spheres", "flow"))
def test_every_option_of_a_task_changes_what_is_used_or_is_refused(used, files, name, monkeypatch):
    monkeypatch.chdir(files)
    solver = " --solver stochastic-heun --steps 1" if "sde" in name else " --solver euler --steps 1"
    of_task = [(TASKS[name], field.name) for field in dataclasses.fields(TASKS[name])]
    found = []
    for context in OF_TASKS.get(name, [""]):
        tiny = " ".join(f"{a} {b}" for a, b in _pairs(TINY.get(name, "--batch-size 8")) if a not in context)
        line = f"train {name} {tiny}" + ("" if "--solver" in context else solver)
        found += unused(used, line, context, of_task, task=True)
    assert not found


def _pairs(line):
    words = line.split()
    return zip(words[::2], words[1::2], strict=True)


OF_TRAIN = {
    "digits": [
        "", " --solver rk4 --steps 4 --on-failure skip", " --solver tsit5 --penalty steer",
        " --penalty kinetic --on-failure rollback", " --solver euler --step-control ott",
    ],
    "spiral-sde": ["", " --calculus ito --solver learned-srk --steps 2"],
    "flow": [f"{POINTS} --solver tsit5"],
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(OF_TRAIN, "flow"))
def test_every_option_of_train_changes_what_is_used_or_is_refused(used, name):
    options, base = list(names_of(train_command.Train)), f"train {name} {TINY[name]}"
    assert not [line for context in OF_TRAIN[name] for line in unused(used, base, context, options, task=False)]


OF_FIT = {
    "digits": ["", " --nfe 1", " --consistency 0", " --train-steps 10"],
    "flow": [POINTS],
    "spiral-sde": ["", " --calculus ito"],
}


@pytest.mark.parametrize("name", mostly_slow(OF_FIT, "flow"))
def test_every_option_of_fit_changes_what_is_used_or_is_refused(used, name):
    options, base = list(names_of(fit_command.Fit)), f"fit {name} {TINY[name]}"
    assert not [line for context in OF_FIT[name] for line in unused(used, base, context, options, task=False)]


OF_COMPARE = {
    "digits": ["", " --methods rk4 --penalty kinetic", " --methods dopri5", " --penalties kinetic"],
    "spiral-sde": ["", " --calculus ito --methods learned-srk --nfe 2 4"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_COMPARE)
def test_every_option_of_compare_changes_what_is_used_or_is_refused(used, name):
    options = [(owner, option) for owner, option in names_of(compare_command.Compare) if option != "seeds"]
    base = f"compare {name} {TINY[name]} --seeds 1"
    assert not [line for context in OF_COMPARE[name] for line in unused(used, base, context, options, task=False)]


# What has no training: evaluate, certify, distill


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """As `used`, for a command on a run: what it evaluates, certifies or distills with."""

    def stop(*arguments, **options):
        solvers = [used_of_solver(x) for x in (*arguments, *options.values()) if isinstance(x, kx.AbstractSolver)]
        plain = [
            x
            for x in (*arguments, *options.items())
            if isinstance(x, int | float | str | tuple) and not isinstance(x, Data)
        ]
        raise Captured(solvers, plain)

    class Data(NamedTuple):
        name = "some"
        validation: str = "validation"
        test: str = "test"
        trajectories: None = None

    own = kx.FixedSteps(kx.tableaus.RK4, 2)
    for command in (certify_command, distill_command, evaluate_command):
        monkeypatch.setattr(command, "load_run", lambda _: (Data(), None, own))
        monkeypatch.setattr(command, "batch_size_of", lambda _: 8)
    monkeypatch.setattr(distill_command, "read_run", lambda _: {})
    monkeypatch.setattr(evaluate_command, "evaluate", stop)
    monkeypatch.setattr(certify_command, "certify_run", stop)
    drawn = lambda task, model, most, key: Trajectories(
        (most, *jax.random.key_data(key).tolist()), np.ones((9, 1)), 0, 1, None
    )
    monkeypatch.setattr(distill_command, "some_trajectories", drawn)
    fitted = lambda field, y0, t0, t1, *, student, holdout, objective, radius, **_: stop(
        student, field, holdout, objective, str(radius)
    )
    monkeypatch.setattr(distill_command, "distill", fitted)
    monkeypatch.setattr(distill_command, "begin", lambda output, config, console: Folder(tmp_path, "distill"))

    def run(line, *, task=False):
        try:
            cli.main(shlex.split(line))
        except SystemExit as stop:
            return stop.code
        except Captured as captured:
            return captured.arguments, captured.options
        raise AssertionError("neither done nor refused")

    return run


DISTILLED = ["", " --student anchored --nfe 3", " --student free", " --nfe 4 --objective relaxed"]


@pytest.mark.parametrize(
    ("base", "kind", "contexts"),
    [
        (
            "evaluate RUN",
            evaluate_command.Evaluate,
            ["", " --solver rk4 --steps 2", " --solver tsit5", " --solver spark"],
        ),
        ("certify RUN", certify_command.Certify, [""]),
        ("distill RUN", distill_command.Distill, DISTILLED),
    ],
)
def test_every_option_of_a_command_on_a_run_changes_what_is_used_or_is_refused(seen, base, kind, contexts):
    if "spark" in contexts[-1]:  # the task is no SDE: the solver is refused, and so are all lines with it
        contexts = contexts[:-1]
    assert not [line for context in contexts for line in unused(seen, base, context, list(names_of(kind)), task=False)]


# Refusals


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "train digits --solver learned --rtol 1e-2 --control per_sample",
            "--rtol changes nothing with --solver learned",
        ),
        ("train digits --solver rk4 --steps 4 --solver-lr 0.1", "--solver-lr changes nothing with a solver that has"),
        ("train digits --on-failure raise --rollback-lr 0.1", "--rollback-lr changes nothing with --on-failure raise"),
        ("train digits --rollback-lr 0.5", "--rollback-lr changes nothing"),  # the default, said aloud
        ("train digits --most_failures=0.2", "--most-failures changes nothing with --on-failure raise"),
        ("train digits --steps 1 --shared", "--shared changes nothing in a solver of one step"),
        ("train digits --steps 1 --equal-steps", "--equal-steps changes nothing in a solver of one step"),
        ("train digits --depth 0 --width 8", "--width changes nothing with --depth 0"),
        ("train density --file F --data moons", "--data changes nothing with --file"),
        ("train density --penalised 8", "--penalised changes nothing without a penalty"),
        ("train density --data wine --samples 9", "--samples changes nothing with --data wine"),
        ("train dynamics --segments 1 --continuity 3", "--continuity changes nothing with --segments 1"),
        ("train dynamics --trajectories 2 --split-seed 1", "--split-seed changes nothing with fewer than 3"),
        ("train latent --kl 0 --kl-anneal 0.2", "--kl-anneal changes nothing with --kl 0"),
        ("train spiral-sde --solver srk --steps 2 --rtol 5e-3", "--rtol changes nothing with --solver srk"),
        ("train spiral-sde --solver milstein --steps 2 --max-steps 9", "--max-steps changes nothing with solvers of"),
        ("fit flow --consistency 2", "--consistency changes nothing for a task that is trained without a penalty"),
        ("fit spiral-sde --no-distill", "--distill changes nothing for an SDE"),
        ("fit digits --train-steps 10 --warm-up 0.4", "--warm-up changes nothing with so few training steps"),
        ("fit digits --learned never --solver-lr 0.1", "--solver-lr changes nothing"),
        ("compare digits --methods rk4 --stages 2", "--stages changes nothing where no learned solver"),
        ("compare digits --methods dopri5 --nfe 4", "--nfe changes nothing with adaptive solvers alone"),
        ("compare digits --nfe 4 --shared", "--shared changes nothing in solvers of one step"),
        ("evaluate RUN --rtol 1e-3", "--rtol changes nothing in the run's own solver: name another one with --solver"),
        ("evaluate RUN --solver rk4 --steps 2 --atol 1e-3", "--atol changes nothing with --solver rk4 --steps 2"),
        ("evaluate RUN --solver learned", "learned has learned nothing outside of its own run"),
        ("distill RUN --student anchored --stages 2", "--stages changes nothing with --student anchored"),
        ("distill RUN --student free --order 2", "--order changes nothing with --student free, which has none"),
        ("distill RUN --window 2", "--window changes nothing with --student per_step"),
        ("distill RUN --nfe 4 --student shared", "--student changes nothing in a solver of one step"),
        ("train digits --steps 99999999999999999999", "--steps must be <= 100000, got 99999999999999999999"),
        ("train digits --width 2147483648", "--width must be <= 65536, got 2147483648"),
        ("fit digits --nfe 4294967296", "--nfe must be <= 100000, got 4294967296"),
        ("compare digits --nfe 4 4294967296", "--nfe must be <= 100000, got 4294967296"),
        ("train latent --split-seed -1", "--split-seed must lie in [0, 4294967295], got -1"),
        ("train spheres --data-seed 4294967296", "--data-seed must lie in [0, 4294967295], got 4294967296"),
        ("train digits --lr inf", "--lr must be <= 1000000, got inf"),
        ("train digits --solver-lr nan", "--solver-lr must be >= 0, got nan"),
        ("train digits --checkpoint-seconds nan", "--checkpoint-seconds must lie in [0, 1000000], got nan"),
        ("train digits --solver tsit5 --rtol inf", "--rtol must be <= 1000000, got inf"),
        ("certify RUN --metric-tolerance inf", "--metric-tolerance must be <= 1000000000, got inf"),
        ("distill RUN --holdout 1", "--holdout must lie in (0, 1), got 1.0"),
        ("fit digits --warm-up 1", "--warm-up must lie in [0, 1), got 1.0"),
    ],
)
def test_refusals_name_option_reason_and_mend(capsys, line, says):
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1 and says in err


def test_every_number_has_bounds_on_both_sides():
    """Of every option, so that one added later is noticed."""
    kinds = [*TASKS.values(), train_command.Train, fit_command.Fit, compare_command.Compare]
    kinds += [evaluate_command.Evaluate, certify_command.Certify, distill_command.Distill]
    lacking = [
        name
        for kind in kinds
        for owner, name in names_of(kind)
        if {int, float} & {get_type_hints(owner)[name], *get_args(get_type_hints(owner)[name])}
        and name not in declared(owner)
    ]
    assert not lacking


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 10**30, -(10**30)])
def test_no_bounds_hold_what_is_no_number_or_too_large(value):
    for kind in TASKS.values():
        assert not any(bounds.holds(value) for bounds in declared(kind).values())


def test_task_built_in_python_refuses_what_changes_nothing():
    with pytest.raises(kx.UserError, match="--continuity changes nothing with --segments 1"):
        build("dynamics", continuity=3.0)
