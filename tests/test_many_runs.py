"""Many runs of one comparison: seeds by their numbers, and shards of the runs."""

import pytest

from kuttax.commands import compare
from kuttax.commands import main as cli
from kuttax.commands.options.seeds import Seeds
from kuttax.commands.options.shard import Shard
from kuttax.io.records import read

SMALL = ("--width", "4", "--train-steps", "4", "--per-dispatch", "2", "--evaluations", "1", "--batch-size", "72")
COMPARE = ("compare", "digits", "--methods", "rk4", "midpoint", "--nfe", "4", *SMALL)


@pytest.fixture
def kuttax(capsys):
    """Runs the command line in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        return (stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def faked(monkeypatch):
    """Comparisons train nothing."""

    def fake(trainer, seed, about, *rest, **options):
        values = dict.fromkeys(("validation", "test", "test_reference", "nfe", "train_seconds"), 10.0)
        return {"kind": "run", "metric": {"name": "accuracy", "unit": "%"}, **about, **values, "seed": seed}

    monkeypatch.setattr(compare, "run", fake)


def runs(directory):
    return [(r["method"], r["seed"]) for r in read(directory / "records.jsonl") if r["kind"] == "run"]


@pytest.mark.parametrize(
    ("word", "seeds"),
    [("3", (0, 1, 2)), ("3,5,8", (3, 5, 8)), ("8,3", (8, 3)), ("3,", (3,)), ("0,", (0,)), ("3,3", (3,))],
)
def test_seeds_are_a_count_or_a_list(word, seeds):
    assert Seeds.read(word) == seeds
    assert Seeds.read(str(Seeds.read(word))) == seeds


@pytest.mark.parametrize(("count", "of"), [(20, 45), (20, 20), (3, 2), (1, 5)])
def test_shards_are_a_partition_of_equal_parts(count, of):
    parts = [Shard(index, count).of(list(range(of))) for index in range(1, count + 1)]
    assert sorted(run for part in parts for run in part) == list(range(of))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_second_of_three_shards_runs_every_third_pair_from_the_second(tmp_path, kuttax, faked, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kuttax(*COMPARE, "--seeds", "4,7,5", "--shard", "2/3")
    assert (code, err) == (0, "")
    everything = [(method, seed) for seed in (4, 7, 5) for method in ("rk4", "midpoint")]
    assert runs(tmp_path / "runs" / "compare-digits-2-of-3") == everything[1::3]


def test_a_shard_without_runs_is_no_error(tmp_path, kuttax, faked):
    code, out, err = kuttax(*COMPARE, "--seeds", "1", "--shard", "3/3", "--out", tmp_path / "out")
    assert (code, err) == (0, "") and "shard 3/3 has no runs: there are only 2" in out
    assert runs(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        ("0/3", "--shard must be one of 1/3 to 3/3, got 0/3"),
        ("4/3", "--shard must be one of 1/3 to 3/3, got 4/3"),
        ("1/0", "--shard must have a number of shards that is >= 1, got 1/0"),
        ("second", "--shard must be a part of all runs, such as 2/20, got 'second'"),
    ],
)
def test_a_shard_that_does_not_exist_is_refused(kuttax, shard, says):
    code, out, err = kuttax(*COMPARE, "--shard", shard)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
