"""`kuttax sweep`: which runs it makes, that they are those of the swept command, and what it reports of them."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.image import imread
from small_runs import SMALL

from kuttax.commands.fit import Fit
from kuttax.commands.options.varied import Varied
from kuttax.commands.saved.kept import read_record
from kuttax.commands.sweep import Sweep
from kuttax.commands.train import Train
from kuttax.errors import UserError
from kuttax.io.folder import Folder
from kuttax.io.lock import InUse
from kuttax.io.records import read
from kuttax.report import sweep as sweep_plot
from kuttax.report.column import best_row
from kuttax.report.comparison import run_name, summarise
from kuttax.training.loop import TrainingError

ROOT = Path(__file__).parents[1]
PAGES = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
SWEEP = ("sweep", "train", "digits", *SMALL)
TIMES = ("train_seconds", "compile_seconds", "step_ms", "predict_ms", "when")


@pytest.mark.parametrize(
    ("word", "name", "values"),
    [
        ("lr=0.1,0.2", "lr", ("0.1", "0.2")),
        ("--batch_size=32, 64,32", "batch-size", ("32", "64")),
        ("solver=dopri5,learned --stages 4", "solver", ("dopri5", "learned --stages 4")),
        ("lr=0.1", "lr", ("0.1",)),
    ],
)
def test_an_option_and_its_values(word, name, values):
    assert Varied.read(word) == (name, values)


@pytest.mark.parametrize("word", ["lr", "lr=", "=1,2", "lr=1,,2", "lr=1,", "", "out='a"])
def test_what_is_no_option_with_values(word):
    with pytest.raises(ValueError):
        Varied.read(word)


def test_words_of_a_value():
    option = Varied.read("solver=dopri5,learned --stages 4")
    assert option.words("learned --stages 4") == ["--solver", "learned", "--stages", "4"]
    words = lambda word, usual: [Varied.read(word).words(value, usual) for value in Varied.read(word).values]
    assert words("least=yes,no --stages 4", False) == [["--least"], ["--stages", "4"]]
    assert words("distill=yes,no", True) == [[], ["--no-distill"]]
    assert words("control=yes", None) == [["--control", "yes"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sweep",), "sweep needs a COMMAND (train or fit) and a TASK first, for example: kuttax sweep train digits"),
        (("sweep", "compare", "digits"), "sweep needs a COMMAND (train or fit)"),
        (("sweep", "train", "digits", "more", "--vary", "lr=1"), "sweep needs a COMMAND (train or fit)"),
        (SWEEP, "sweep needs the options to vary, for example: --vary lr=0.001,0.003"),
        ((*SWEEP, "--vary", "lr"), "--vary must be options with values, such as lr=0.001,0.01 width=8,16"),
        ((*SWEEP, "--vary", "lrr=1,2"), "unknown option '--lrr'; did you mean --lr?"),
        ((*SWEEP, "--vary", "lr=0.1,fast"), "--lr must be a number, got 'fast'"),
        ((*SWEEP, "--vary", "lr=0.1,-1"), "--lr must be > 0, got -1.0"),
        ((*SWEEP, "--vary", "seed=1,2"), "--seed is no option that a sweep can vary: give --seeds"),
        ((*SWEEP, "--vary", "lr=1,2", "--seed", "3"), "--seed is no option that a sweep can vary: give --seeds"),
        (
            (*SWEEP, "--vary", "width=1,2"),
            "--width has its value from two places: give all its values in one --vary width=...",
        ),
        ((*SWEEP, "--vary", "lr=1", "lr=2"), "--lr has its value from two places"),
        ((*SWEEP, "--vary", "lr=1", "--vary", "decay=2"), "--vary is given twice: give all its values behind one"),
        ((*SWEEP, "--vary", "solver=dopri5,learned", "--stages", "4"), "--stages changes nothing with --solver dopri5"),
        ((*SWEEP, "--vary", "lr=0.1,0.10"), "lr=0.1 and lr=0.10 are the same run: leave out one of them"),
        ((*SWEEP, "--vary", "solver=dopri5,rk4 --seed 4"), "--seed is no option that a sweep can vary"),
        ((*SWEEP, "--vary", "out=a,b"), "--out is no option that a sweep can vary: leave it out"),
        ((*SWEEP, "--vary", "resume=yes,no"), "--resume is no option that a sweep can vary"),
        ((*SWEEP, "--vary", "lr=no,0.1"), "--lr must be a number, got 'no'"),
        (
            (*SWEEP, "--vary", "solver=learned --stages 4,learned --stages 3", "stages=2,1"),
            "--stages has its value from two places",
        ),
        (
            ("sweep", "train", "series", "--file", "absent.csv", "--vary", "lr=0.1,0.2"),
            "absent.csv: name a file of series",
        ),
        ((*SWEEP, "--vary", "lr=1,2", "--frobnicate"), "unknown option '--frobnicate'"),
        ((*SWEEP, "--vary", "lr=1,2", "--workers", "0"), "--workers must be >= 1, got 0"),
    ],
)
def test_a_sweep_is_refused_before_anything_runs(tmp_path, kuttax_main, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    code, out, err = kuttax_main(*words)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def fake(self, name, options, console):
    """A record of a run that takes no time: the error is that of a parabola in the logarithm of the learning rate."""
    if self.training.lr > 1:
        raise TrainingError("it diverged")
    value = 90 - (np.log10(self.training.lr) + 2) ** 2 - 0.1 * self.seed
    values = dict.fromkeys(("validation", "test", "test_reference", "nfe", "train_seconds"), float(value))
    return {"kind": "run", "metric": {"name": "accuracy", "unit": "%", "higher_is_better": True}, **values}


@pytest.fixture
def faked(monkeypatch):
    """Runs train nothing."""
    monkeypatch.setattr(Train, "record", fake)
    monkeypatch.setattr(Fit, "record", fake)


def runs(out):
    """Options and seed of the recorded runs, in their order."""
    return [(r["options"], r["seed"]) for r in read(out / "records.jsonl") if r["kind"] in ("run", "failure")]


@pytest.mark.usefixtures("faked")
@pytest.mark.parametrize("command", ["train", "fit"])
def test_every_combination_and_seed_is_run_once(tmp_path, kuttax_main, command):
    words = ("sweep", command, "digits", "--vary", "lr=0.001,0.01", "batch-size=36,72", "--seeds", "4,2")
    code, out, err = kuttax_main(*words, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    wanted = [({"lr": lr, "batch-size": size}, s) for s in (4, 2) for lr in ("0.001", "0.01") for size in ("36", "72")]
    assert runs(tmp_path / "out") == wanted
    assert "Best on validation data: lr=0.01, batch-size=36." in out  # the first of two as good
    again, out, _ = kuttax_main(*words, "--out", tmp_path / "out", "--resume")
    assert again == 0 and out.count(": recorded") == 8 and runs(tmp_path / "out") == wanted
    table = (tmp_path / "out" / "table.md").read_text()
    assert re.search(r"\| lr +\| batch-size +\| NFE", table) and "vs " not in table
    assert imread(tmp_path / "out" / "sweep.png").ndim == 3
    assert not (tmp_path / "out" / "headline.png").exists()


@pytest.mark.usefixtures("faked")
def test_other_options_do_not_resume_a_sweep(tmp_path, kuttax_main):
    out = tmp_path / "out"
    assert kuttax_main(*SWEEP, "--vary", "lr=0.001,0.01", "--seeds", "1", "--out", out)[0] == 0
    for words, says in [
        (("--vary", "lr=0.001,0.1"), "--vary was ['lr=0.001,0.01'], and is ['lr=0.001,0.1']"),
        (("--vary", "lr=0.001,0.01", "--depth", "2"), "--depth was 1, and is 2"),
    ]:
        code, _, err = kuttax_main(*SWEEP, *words, "--seeds", "1", "--out", out, "--resume")
        assert code == 2 and says in err
    assert kuttax_main(*SWEEP, "--vary", "lr=0.001,0.01", "--seeds", "2", "--out", out, "--resume")[0] == 0
    assert len(runs(out)) == 4


@pytest.mark.usefixtures("faked")
def test_a_run_that_fails_leaves_the_others(tmp_path, kuttax_main):
    code, out, err = kuttax_main(*SWEEP, "--vary", "lr=10,0.01", "--seeds", "2", "--out", tmp_path / "out")
    assert (code, err) == (1, "") and out.count("failed: it diverged") == 2
    kinds = [record["kind"] for record in read(tmp_path / "out" / "records.jsonl")]
    assert kinds == ["command", "failure", "run", "failure", "run"]
    assert "it diverged" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.usefixtures("faked")
def test_shards_of_a_sweep_merge_into_the_whole(tmp_path, kuttax_main):
    sweep = (*SWEEP, "--vary", "lr=0.001,0.01,0.1", "--seeds", "2")
    assert kuttax_main(*sweep, "--out", tmp_path / "whole")[0] == 0
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        assert kuttax_main(*sweep, "--shard", f"{i}/2", "--out", part)[0] == 0
    assert kuttax_main("report", *parts, "--out", tmp_path / "merged")[0] == 0
    assert runs(tmp_path / "merged") == runs(tmp_path / "whole") and len(runs(tmp_path / "whole")) == 6
    assert (tmp_path / "merged" / "table.md").read_text() == (tmp_path / "whole" / "table.md").read_text()


@pytest.mark.usefixtures("faked")
def test_the_order_of_the_options_is_the_sweep_s(tmp_path, kuttax_main):
    """In another order the combinations have other names: they would be run again."""
    first = kuttax_main(*SWEEP, "--vary", "lr=0.01,0.1", "depth=1,2", "--seeds", "1", "--out", tmp_path / "a")
    assert first[0] == 0
    again = ("--vary", "depth=1,2", "lr=0.01,0.1", "--seeds", "1", "--out", tmp_path / "a", "--resume")
    code, _, err = kuttax_main(*SWEEP, *again)
    assert code == 2 and "--vary was" in err and len(runs(tmp_path / "a")) == 4


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 8 TB"), MemoryError("8 TB")], ids=["device", "machine"]
)
def test_a_run_without_memory_leaves_the_others(tmp_path, kuttax_main, monkeypatch, error):
    def full(self, name, options, console):
        if self.training.lr == 0.1:
            raise error
        return fake(self, name, options, console)

    monkeypatch.setattr(Train, "record", full)
    code, out, err = kuttax_main(*SWEEP, "--vary", "lr=0.1,0.01", "--seeds", "1", "--out", tmp_path / "out")
    assert (code, err) == (1, "") and "lr=0.1, seed 0: failed: out of memory" in out
    assert [record["kind"] for record in read(tmp_path / "out" / "records.jsonl")] == ["command", "failure", "run"]


def test_a_metric_that_is_not_finite_is_recorded_and_said(tmp_path, kuttax_main, monkeypatch):
    """JSON has no such number: the record has none."""

    def lost(self, name, options, console):
        return {**fake(self, name, options, console), **({"test": None} if self.training.lr == 0.1 else {})}

    monkeypatch.setattr(Train, "record", lost)
    code, out, err = kuttax_main(*SWEEP, "--vary", "lr=0.1,0.01", "--seeds", "1", "--out", tmp_path / "out")
    assert (code, err) == (0, "") and re.search(r"lr=0.1, seed 0: validation .* %, test not finite, NFE", out)
    assert len(runs(tmp_path / "out")) == 2


@pytest.mark.usefixtures("faked")
def test_a_folder_in_use_is_no_failure_of_its_run(tmp_path, kuttax_main, monkeypatch):
    def used(self, name, options, console):
        raise InUse("out is in use by another process: wait for it")

    monkeypatch.setattr(Train, "record", used)
    code, _, err = kuttax_main(*SWEEP, "--vary", "lr=0.1,0.01", "--seeds", "1", "--out", tmp_path / "out")
    assert code == 2 and "in use" in err and runs(tmp_path / "out") == []


def test_processes_elsewhere_get_absolute_paths(tmp_path, kuttax_main, monkeypatch):
    seen = []
    monkeypatch.setattr(Fit, "record", lambda self, name, options, console: seen.append(options.file) or fake_fit())
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{0.1 * k},{np.cos(0.1 * k)},{np.sin(0.1 * k)}" for k in range(60))
    (tmp_path / "mine.csv").write_text(f"t,x,y\n{rows}\n")
    words = ("sweep", "fit", "dynamics", "--file", "mine.csv", "--vary", "nfe=2,4", "--seeds", "1", "--out", "out")
    assert kuttax_main(*words)[0] == 0
    assert seen == [tmp_path / "mine.csv"] * 2


def fake_fit():
    values = dict.fromkeys(("validation", "test", "test_reference", "nfe", "train_seconds"), 1.0)
    return {"kind": "fit", "metric": {"name": "rmse", "unit": "", "higher_is_better": False}, **values}


@pytest.mark.parametrize(
    "line", [line for page in PAGES for line in re.findall(r"^kuttax sweep.*$", page, re.MULTILINE)]
)
def test_sweeps_on_the_pages_are_understood(tmp_path, kuttax_main, monkeypatch, line):
    monkeypatch.setattr(Sweep, "__call__", lambda self, command, combinations, console: print(len(combinations)))
    code, out, err = kuttax_main(*shlex.split(line.partition("#")[0])[1:])
    assert (code, err) == (0, "") and int(out) > 1


@pytest.mark.parametrize(
    "values",
    [
        ["0.1"],
        ["0", "0.0001", "0.001", "0.01", "0.1", "1"],
        ["1", "2", "3"],
        ["a", "b"],
        [f"{10**k}" for k in range(10)],
    ],
)
def test_values_on_an_axis_have_room(values):
    """Numbers stand at their values where their labels do not touch."""
    places, logarithmic = sweep_plot.places(values)
    at = sorted(np.log10(list(places.values())) if logarithmic else places.values())
    assert list(places) == values and np.all(np.diff(at) > 0.05 * (at[-1] - at[0]))


@pytest.mark.parametrize("value", ["$x$", "$\\foo$", "a" * 50, "learned --stages 4 --steps 2,x"])
def test_any_value_can_be_drawn(tmp_path, value):
    about = {"kind": "run", "task": "t", "metric": {"name": "mse", "unit": "", "higher_is_better": False}}
    row = lambda v: {
        "method": v,
        "label": v,
        "options": {"file": v},
        "seed": 0,
        "validation": 1.0,
        "test": 1.0,
        "nfe": 1,
    }
    found = summarise([{**about, **row(value)}, {**about, **row("b")}])
    assert sweep_plot.plot(found, tmp_path / "sweep") is not None


def test_names_of_folders_differ_where_combinations_do():
    record = lambda **options: {"options": options, "seed": 0, "method": "m"}
    assert run_name(record(lr="0.1", width="8")) == "lr=0.1,width=8-seed0"
    names = {run_name(record(hidden=value)) for value in ("8 8", "8_8", "8/8", "8" * 200, "8" * 201)}
    assert len(names) == 5 and all(re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,150}", name) for name in names)


def test_the_best_combination_has_no_failed_run():
    """A row whose runs failed in part is worse than any whole one."""
    about = {"task": "t", "budget": None, "metric": {"name": "mse", "unit": "", "higher_is_better": False}}
    numbers = lambda value: dict.fromkeys(("validation", "test"), value)
    row = lambda lr: {"kind": "run", "method": f"lr={lr}", "label": f"lr={lr}", "options": {"lr": lr}, **about}
    run = lambda lr, s, value: {**row(lr), "seed": s, **numbers(value)}
    found = [run("1", 0, 0.1), {**run("1", 1, 0.1), "kind": "failure"}, run("2", 0, 0.3), run("2", 1, 0.2)]
    assert getattr(best_row(summarise(found)), "label", None) == "lr=2"
    untested = [{**record, "test": None} if record["label"] == "lr=2" else record for record in found]
    assert getattr(best_row(summarise(untested)), "label", None) == "lr=2", "the test data chose"
    assert getattr(best_row(summarise(found[:2])), "label", None) == "lr=1"
    assert best_row([]) is None


@pytest.mark.slow
@pytest.mark.usefixtures("any_certificate")
def test_a_swept_run_is_the_run_of_its_command(tmp_path, kuttax_main):
    """The same numbers, to the last bit, as `kuttax train` with these options and this seed; and a run to load."""
    words = ("--solver", "rk4", "--steps", "1")
    code, _, err = kuttax_main(*SWEEP, *words, "--vary", "lr=0.01,0.02", "--seeds", "3,", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    alone = tmp_path / "alone"
    train = ("train", "digits", *SMALL, *words, "--lr", "0.02", "--seed", "3", "--out", alone)
    assert kuttax_main(*train)[0] == 0
    assert kuttax_main("evaluate", tmp_path / "out" / "runs" / "lr=0.02-seed3")[0] == 0
    (swept,) = [r for r in read(tmp_path / "out" / "records.jsonl") if r.get("options") == {"lr": "0.02"}]
    trained = read_record(Folder(alone, "train"))
    for name in ("validation", "test", "test_loss", "test_reference", "nfe"):
        assert swept[name] == trained[name]


@pytest.mark.usefixtures("faked")
def test_a_swept_value_must_suit_its_task(kuttax_main):
    """Whatever the options refuse together is refused beforehand."""
    code, _, err = kuttax_main("sweep", "train", "dynamics", "--vary", "system=lorenz63,no-such-system")
    assert code == 2 and "--system must be one of" in err and "got 'no-such-system'" in err


def test_user_errors_of_a_run_are_its_failure(tmp_path, kuttax_main, monkeypatch):
    def refuses(self, name, options, console):
        raise UserError("there are too few data")

    monkeypatch.setattr(Train, "record", refuses)
    code, out, err = kuttax_main(*SWEEP, "--vary", "lr=0.1", "--seeds", "1", "--out", tmp_path / "out")
    assert (code, err) == (1, "") and "lr=0.1, seed 0: failed: there are too few data" in out
