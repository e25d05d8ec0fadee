"""Resume: a run that was killed anywhere ends, bit for bit, as one that was not; what is damaged is noticed.

The truth is the uninterrupted run of the same seed, trained without checkpoints.
"""

import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax.commands import main as cli
from kuttax.data import Dataset
from kuttax.errors import UserError
from kuttax.io import checkpoints as module
from kuttax.io import records
from kuttax.io.checkpoints import Checkpoints, SavedPart
from kuttax.tasks import Metric, Prediction, mean_nfe
from kuttax.training.loop import Stopped, Trainer
from kuttax.training.settings import Settings
from kuttax.validity import CertifiedControl, StepControl, ToleranceControl

TARGET = np.array([[0.2, 2.0], [-2.0, 0.1]], np.float32)


class Killed(BaseException):
    """What a kill is in these tests: nothing of the run catches it."""


class Flow:
    """Find the matrix of dy/dt = W y, with noise in the loss that its key draws."""

    name = "flow"
    interval = (0.0, 1.0)
    metric = Metric("mae", higher_is_better=False, unit="")

    def __init__(self):
        rng = np.random.default_rng(0)
        values, vectors = np.linalg.eig(TARGET)
        end = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real.T
        draw = lambda n: rng.standard_normal((n, 2)).astype(np.float32)
        self.train, self.validation = (Dataset(x, (x @ end).astype(np.float32)) for x in (draw(24), draw(16)))

    def init(self, key):
        return {"w": 0.1 * jax.random.normal(key, (2, 2), jnp.float32)}

    def loss(self, model, solver, batch, key):
        found = self.predict(model, solver, batch)
        noise = 1 + 0.1 * jax.random.normal(key, (), jnp.float32)
        return noise * found.loss, {"nfe": mean_nfe(found.stats), "metric": found.metric, "status": found.status}

    def predict(self, model, solver, batch):
        options = {"solver": solver, "batch_axis": 0, "throw": False, "max_steps": 64, "args": model["w"]}
        sol = kx.solve(lambda t, y, w: w @ y, jnp.asarray(batch.x), 0.0, 1.0, **options)
        miss = sol.y1 - batch.y
        return Prediction(sol.y1, jnp.abs(miss).mean(), stats=sol.stats, loss=(miss**2).mean(), status=sol.status)


def certified(predict, solver, batch):
    """A certificate that is not valid at first, and looks at predictions, which cost evaluations."""
    predict(solver, batch)
    return type("Certificate", (), {"verdict": "valid" if solver.steps > 18 else "invalid"})


def learned(steps=2):
    return kx.LearnedRK.from_tableau(
        kx.tableaus.MIDPOINT, steps, order=1, per_step=True, learn_steps=True, dtype=np.float32
    )


class Case(NamedTuple):
    solver: kx.AbstractSolver
    control: object = None
    settings: dict = {}  # noqa: RUF012


CASES = {
    "plain": Case(kx.FixedSteps(kx.tableaus.MIDPOINT, 1)),
    "learned": Case(learned()),
    "rollback": Case(kx.FixedSteps(kx.tableaus.MIDPOINT, 1), settings={"on_failure": "rollback"}),
    "ott": Case(kx.FixedSteps(kx.tableaus.EULER, 8), StepControl(every=4)),
    "ott-learned": Case(learned(2), StepControl(every=12, most=1e-5), {"on_failure": "rollback"}),
    "tolerance": Case(kx.Adaptive(kx.tableaus.BOSH3, 1e-2, 1e-3), ToleranceControl(every=8)),
    "certified": Case(
        kx.FixedSteps(kx.tableaus.EULER, 4), CertifiedControl(tune=0.2, share=0.9, rounds=4, certify=certified)
    ),
}


@pytest.fixture(scope="module")
def trainers():
    """One trainer a case: what it has compiled serves all runs."""
    made = {}

    def trainer(name):
        if name not in made:
            case = CASES[name]
            how = {"train_steps": 24, "batch_size": 8, "evaluations": 3, "per_dispatch": 4, "lr": 0.05, **case.settings}
            made[name] = Trainer(Flow(), case.solver, Settings(**how), control=case.control)
            made[name].whole = made[name].run(3)
        return made[name]

    return trainer


def bits(trained):
    """All that a run ends with, but for times."""
    parts = (trained.model, trained.solver, trained.best_step, trained.validation, trained.controlled, trained.failures)
    leaves, structure = jax.tree.flatten(parts)
    return structure, [np.asarray(x).tobytes() if eqx.is_array_like(x) else x for x in leaves]


def checkpoints(path, **options):
    return Checkpoints(path / "checkpoints", **{"every": 0.0, **options})


class Bomb:
    """Kills at the n-th look of anything that it is put into."""

    def __init__(self, n):
        self.left = n

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            raise Killed


def run_with_kills(trainer, path, monkeypatch, kills, where):
    """Resume until the run ends; the k-th attempt is killed at the n-th call of `where`, for n in kills."""
    attempts = 0
    for n in [*kills, 10**9]:
        bomb = Bomb(n)
        kept = checkpoints(path)
        with monkeypatch.context() as patch:
            where(patch, bomb)
            try:
                done = trainer.run(3, checkpoints=kept, start=kept.latest())
            except Killed:
                attempts += 1
                continue
        return done, attempts
    raise AssertionError


def before_each_step(patch, bomb):
    from kuttax.training.run import Run

    advance = Run.advance
    patch.setattr(Run, "advance", lambda self, count: (bomb(), advance(self, count))[1])


def after_each_step(patch, bomb):
    from kuttax.training.run import Run

    advance = Run.advance
    patch.setattr(Run, "advance", lambda self, count: (advance(self, count), bomb())[0])


def inside_a_write(patch, bomb):
    """Half of the file is there, or all of it, and not yet its name."""
    fsync = os.fsync
    patch.setattr(module.os, "fsync", lambda handle: (bomb(), fsync(handle))[1])


def inside_a_check(patch, bomb):
    from kuttax.training import watch

    predict = watch.predict
    patch.setattr(watch, "predict", lambda *args: (bomb(), predict(*args))[1])


PLACES = {f.__name__: f for f in (before_each_step, after_each_step, inside_a_write, inside_a_check)}


@pytest.mark.parametrize("case", mostly_slow(CASES, "plain", "learned", "rollback"))
@pytest.mark.parametrize("place", mostly_slow(PLACES, "before_each_step"))
def test_killed_runs_end_in_the_same_bits(trainers, tmp_path, monkeypatch, rng, case, place):
    trainer = trainers(case)
    kills = [1, 2, *rng.integers(1, 7, 5)]
    done, attempts = run_with_kills(trainer, tmp_path, monkeypatch, kills, PLACES[place])
    assert attempts > 1 or place == "inside_a_check"
    assert bits(done) == bits(trainer.whole)


@pytest.mark.slow
def test_the_certified_run_is_one_with_a_closing(trainers):
    """What the test above kills has checks, fine-tuning and certificates after training, and a solver that changed."""
    controlled = trainers("certified").whole.controlled
    late = [turn for turn in controlled.turns if turn.step >= 24]
    assert len(late) > 2 and controlled.verdict is not None and trainers("certified").whole.best_step > 24
    for name in ("ott", "ott-learned", "tolerance", "certified"):
        assert len({turn.size for turn in trainers(name).whole.controlled.turns}) > 1, name


def test_a_fresh_process_has_the_same_bits(trainers, tmp_path, monkeypatch):
    """Another trainer, which compiles anew, goes on where the first one was killed."""
    whole = trainers("learned")
    kept = checkpoints(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        before_each_step(patch, Bomb(4))
        whole.run(3, checkpoints=kept)
    fresh = Trainer(Flow(), learned(), whole.settings)
    assert bits(fresh.run(3, start=kept.latest())) == bits(whole.whole)


def test_rows_are_reported_once(trainers, tmp_path):
    trainer, kept, seen = trainers("plain"), checkpoints(tmp_path), []
    bomb = Bomb(3)
    with pytest.raises(Killed):
        trainer.run(3, lambda now: (bomb(), seen.append(now.step)), kept)
    trainer.run(3, lambda now: seen.append(now.step), kept, kept.latest())
    assert seen == [4, 8, 12, 16, 20, 24]


# What is stopped by a signal


@pytest.fixture
def heard():
    """Ctrl-C does what Python has it do, also where pytest was started in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(trainers, tmp_path, number, capfd):
    trainer, kept = trainers("learned"), checkpoints(tmp_path, every=1e9)
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=r"stopped at training step 8 and saved: go on .* --resume") as stopped:
        trainer.run(3, lambda now: os.kill(os.getpid(), number) if now.step == 8 else None, kept)
    assert stopped.value.signal == number and signal.getsignal(number) == before
    assert "once more stops at once" in capfd.readouterr().err
    start = kept.latest()
    assert start.step == 8
    assert bits(trainer.run(3, start=start)) == bits(trainer.whole)


@pytest.mark.usefixtures("heard")
def test_a_second_ctrl_c_stops_at_once(trainers, tmp_path):
    kept = checkpoints(tmp_path, every=1e9)

    def twice(now):
        if now.step == 8:
            signal.raise_signal(signal.SIGINT)  # in this thread: two that are sent to the process may become one
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainers("plain").run(3, twice, kept)
    assert kept.latest().step == 0


def test_a_signal_that_is_ignored_stays_so(heard, trainers, tmp_path):
    """As of a run under nohup, or in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ask = lambda now: signal.raise_signal(signal.SIGINT) if now.step == 8 else None
    assert bits(trainers("plain").run(3, ask, checkpoints(tmp_path))) == bits(trainers("plain").whole)


# Files


PARTS = {
    "run": SavedPart({"step": 7, "x": float("nan"), "y": -np.inf, "z": 0.1 + 0.2}, (np.arange(3.0), np.float32(2)))
}


def parts(step):
    return {"run": SavedPart({**PARTS["run"].plain, "step": step}, PARTS["run"].arrays)}


@pytest.fixture
def three(tmp_path):
    kept = Checkpoints(tmp_path, keep=3)
    for step in range(5):
        kept.save(parts(step))
    return kept


def newest(kept):
    return sorted(kept.directory.glob("*.ckpt"))[-1]


def test_what_is_saved_comes_back_and_the_last_are_kept(three):
    assert [path.name for path in sorted(three.directory.iterdir())] == [f"{n:08}.ckpt" for n in (3, 4, 5)]
    plain, (a, b) = three.latest().parts["run"]
    assert np.isnan(plain["x"]) and plain["y"] == -np.inf and plain["z"] == 0.1 + 0.2 and three.latest().step == 4
    assert (a == np.arange(3.0)).all() and b.dtype == np.float32 and b == 2


def truncated(content, rng):
    return content[: rng.integers(len(content))]


def flipped(content, rng):
    at = rng.integers(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :]


def of_another_version(content, rng):
    return content.replace(b'"version": 1', b'"version": 2', 1)


DAMAGES = {
    "truncated": truncated,
    "flipped": flipped,
    "empty": lambda content, rng: b"",
    "longer": lambda content, rng: content + b"\0",
    "version": of_another_version,
    "foreign": lambda content, rng: b"PK" + content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_is_noticed_and_the_one_before_is_used(three, damage, rng):
    path, said = newest(three), []
    whole = path.read_bytes()
    for _ in range(20):
        path.write_bytes(DAMAGES[damage](whole, rng))
        said.clear()
        assert three.latest(said.append).step == 3
        assert len(said) == 1 and f"{path} is damaged (" in said[0] and "going on from 00000004.ckpt" in said[0]
        assert path.with_suffix(".damaged").exists() and not path.exists()
    three.save(parts(9))
    assert three.latest(said.append).step == 9 and len(said) == 1
    assert len(list(three.directory.glob("*.ckpt"))) == 3, "what is damaged does not count"


def test_every_bit_of_the_header_is_checked(three):
    path, said = newest(three), []
    whole = path.read_bytes()
    for at in range(whole.index(b"\n") + 1):
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
            three.latest(said.append)
    assert len(said) == 8 * (whole.index(b"\n") + 1)


def test_when_all_are_damaged_that_is_said(three):
    for path in three.directory.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"00000005.ckpt is damaged .*all 3 in its folder: remove the folder, and --resume begins"
    ):
        three.latest()


def test_without_any_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere").latest() is None
    (tmp_path / "00000001.ckpt.partial").write_bytes(b"half")
    assert Checkpoints(tmp_path).latest() is None


def test_a_checkpoint_of_another_run_is_refused(trainers, tmp_path):
    trainer, kept = trainers("plain"), checkpoints(tmp_path)
    trainer.run(3, checkpoints=kept)
    start = kept.latest()
    with pytest.raises(UserError, match=r"00000.*ckpt is of another run: seed was 3, and is 4"):
        trainer.run(4, start=start)
    other = Trainer(Flow(), CASES["plain"].solver, Settings(**{**vars(trainer.settings), "lr": 0.5}))
    with pytest.raises(UserError, match=r"of another run: lr was 0\.05, and is 0\.5"):
        other.run(3, start=start)
    with pytest.raises(UserError, match="of another model, solver or precision"):
        Trainer(Flow(), learned(), trainer.settings).run(3, start=start)


def test_numbers_of_checkpoints_are_checked(tmp_path):
    with pytest.raises(UserError, match="keep must be >= 1 checkpoints, got 0"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(UserError, match="seconds between checkpoints must be >= 0, got -1"):
        Checkpoints(tmp_path, every=-1)


def test_rows_of_later_steps_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records.keep(path, lambda row: True)
    assert not path.exists()
    path.write_text('{"step": 2}\n{"step": 4, "loss": null}\n{"step": 6}\n{"step": 8, "lo')
    records.keep(path, lambda row: row["step"] <= 4)
    assert path.read_text() == '{"step": 2}\n{"step": 4, "loss": null}\n'


# The command line


STEPS = 600  # a process that is asked to stop must not be done before it hears of it
SMALL = "digits --width 4 --per-dispatch 2 --evaluations 2 --batch-size 72"
LONG = f"train {SMALL} --train-steps {STEPS} --solver midpoint --steps 1"
SHORT = f"compare {SMALL} --train-steps 8 --seeds 1 --methods midpoint --nfe 2"
TRAIN = LONG.split()
FAST = ("--checkpoint-seconds", "0")


def start(out):
    """A process of its own, which computes as this one does."""
    command = [sys.executable, "-m", "kuttax", *TRAIN, "--out", str(out), *FAST]
    quick = "1" if jax.config.read("jax_disable_most_optimizations") else "0"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": quick}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.fixture(scope="module")
def main():
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        return stop.value.code or 0

    return run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, main):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(*TRAIN, "--out", out) == 0
    return out


@pytest.mark.slow
def test_a_process_that_is_asked_to_stop_ends_in_the_same_bits(uninterrupted, tmp_path, main, capsys):
    """Stopped in its first checkpoints, then resumed to the end. Kills: tests/test_experiments.py."""
    out = tmp_path / "run"
    process = start(out)
    _wait_for(4, out / "checkpoints", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM and "saved: go on with the same command and --resume" in err
    assert main(*TRAIN, "--out", out, "--resume") == 0
    assert "going on at training step" in capsys.readouterr().out
    assert (out / "model.eqx").read_bytes() == (uninterrupted / "model.eqx").read_bytes()
    assert (out / "solver.json").read_bytes() == (uninterrupted / "solver.json").read_bytes()
    steps = [row["step"] for row in records.read(out / "metrics.jsonl")]
    assert steps == list(range(2, STEPS + 1, 2)), "no row is missing, and none is there twice"
    assert not (out / "checkpoints").exists()
    before, after = (json.loads((path / "record.json").read_text()) for path in (uninterrupted, out))
    same = ("validation", "test", "test_loss", "test_reference", "best_step", "nfe", "failures")
    assert {name: before[name] for name in same} == {name: after[name] for name in same}


def _newest(folder):
    """The number of the newest checkpoint; zero where there is none."""
    return max((int(path.stem) for path in folder.glob("*.ckpt")), default=0)


def _wait_for(number, folder, process):
    for _ in range(1200):
        if _newest(folder) >= number:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"checkpoint {number} never came")


@pytest.mark.slow
def test_a_finished_run_says_so(uninterrupted, main, capsys, monkeypatch):
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("training began"))
    before = {path: path.read_bytes() for path in uninterrupted.iterdir()}
    (uninterrupted / "checkpoints").mkdir()  # the kill came after the record
    assert main(*TRAIN, "--out", uninterrupted, "--resume") == 0
    assert "holds a finished run: nothing is left to do" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in uninterrupted.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--lr 0.5", "--lr was 0.01, and is 0.5"),
        ("--seed 1", "--seed was 0, and is 1"),
        ("--depth 2", "--depth was 1, and is 2"),
        ("--solver rk4", "--solver was 'midpoint', and is 'rk4'"),
        ("--steps 3", "--steps was 1, and is 3"),
        ("--on-failure skip", "--on-failure was 'raise', and is 'skip'"),
        ("--step-control certified", "--step-control was 'off', and is 'certified'"),
        ("--overwrite", "--overwrite and --resume contradict each other"),
    ],
)
def test_other_options_are_refused_by_name(uninterrupted, main, capsys, options, says):
    assert main(*TRAIN, "--out", uninterrupted, "--resume", *options.split()) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_a_folder_without_a_run_is_refused(tmp_path, main, capsys):
    (tmp_path / "letter.txt").write_text("mine")
    assert main(*TRAIN, "--out", tmp_path, "--resume") == 2
    assert "holds no run that can be resumed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_goes_on_in_the_midst_of_a_run(tmp_path, main, capsys, monkeypatch):
    compare = [*SHORT.split(), *FAST]
    assert main(*compare, "--out", tmp_path / "whole") == 0
    out = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        before_each_step(patch, Bomb(3))
        cli.main([*compare, "--out", str(out)])
    done = []
    with monkeypatch.context() as patch:
        before_each_step(patch, lambda: done.append(1))
        assert main(*compare, "--out", out, "--resume") == 0
    assert len(done) == 2, "of four dispatches two were done"
    assert "going on at training step 4" in capsys.readouterr().out
    (model,), (other,) = ([*path.rglob("model.eqx")] for path in (out, tmp_path / "whole"))
    assert model.read_bytes() == other.read_bytes() and not [*out.rglob("checkpoints")]
