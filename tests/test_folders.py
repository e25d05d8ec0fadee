"""Folders: what a command did not write is never touched; an old result stays until the new one is whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kuttax.commands import main as cli
from kuttax.commands.saved.output import NEW, Output
from kuttax.errors import UserError
from kuttax.io import folder as module
from kuttax.io.folder import Folder, replace_result
from kuttax.io.lock import Lock
from kuttax.io.manifest import Manifest
from kuttax.training.loop import Trainer, TrainingError

TINY = (*("--train-steps=2", "--batch-size=8", "--evaluations=1", "--width=2", "--solver=euler", "--steps=1"),)


def refusal(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(path: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def result(path: Path, names: dict[str, str], command: str = "train") -> Folder:
    """A folder with files that a command wrote."""
    folder = Folder(path, command)
    for name, text in names.items():
        where, _, last = name.rpartition("/")
        inner = folder.part(where) if where else folder
        with inner.writing(last):
            (inner.path / last).write_text(text)
    return folder


@pytest.fixture
def old(tmp_path):
    return result(tmp_path / "out", {"model.eqx": "old", "fan.png": "old", "runs/a/model.eqx": "old"})


# The manifest


def test_a_file_is_listed_before_it_is_written_and_has_its_digest_after_it(tmp_path):
    folder = Folder(tmp_path / "out", "train")
    with folder.writing("a.txt"):
        assert not Manifest.read(folder.path).files["a.txt"].finished
        (folder.path / "a.txt").write_text("abc")
    entry = Manifest.read(folder.path).files["a.txt"]
    assert (entry.command, entry.bytes) == ("train", 3)
    assert entry.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_somebody_elses_file_is_not_taken_over(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"index\.html is there, and kuttax did not write it"):
        Folder(tmp_path, "report").claim("index.html")
    assert content(tmp_path) == {"index.html": b"mine"}


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_manifest_is_named(old, damage):
    path = old.path / "manifest.json"
    text = path.read_text()
    path.write_text(text[:-20] if damage == "cut" else text.replace('"command": "train"', '"command": "trail"', 1))
    assert str(path) in refusal(old.check, "model.eqx", "train again")


def test_lines_may_be_added_behind_those_that_have_a_digest(tmp_path):
    folder = result(tmp_path, {"records.jsonl": '{"a": 1}\n'})
    path = tmp_path / "records.jsonl"
    path.write_text(path.read_text() + '{"a": 2}\n')
    assert folder.check("records.jsonl", "again", grown=True)
    refusal(folder.check, "records.jsonl", "again")
    path.write_text('{"a": 3}\n{"a": 2}\n')
    refusal(folder.check, "records.jsonl", "again", grown=True)


# --overwrite


@pytest.mark.parametrize(
    "theirs", ["notes.txt", "checkpoints/mine.ckpt", "checkpoints/notes", "runs/a/notes", "runs/b"]
)
def test_a_folder_with_somebody_elses_files_is_refused_by_name(old, theirs):
    (old.path / theirs).parent.mkdir(parents=True, exist_ok=True)
    (old.path / theirs).write_text("mine")
    before = content(old.path)
    with Output(old.path, "train", overwrite=True) as output:
        assert f"holds {theirs}, which manifest.json does not list" in refusal(output.begin)
    assert content(old.path) == before


@pytest.mark.parametrize("command", ["train", "fit", "compare"])
def test_a_project_of_somebody_elses_is_left_alone(tmp_path, monkeypatch, capsys, command):
    """Their folders happen to have the names of ours."""
    for name in ("runs/thesis.tex", "checkpoints/00000001.ckpt", "index.html", "model.eqx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "run", lambda *_, **__: pytest.fail("training began"))
    before = content(tmp_path)
    for options in (["--overwrite"], ["--resume"], []):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "digits", "--out", ".", *options])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and said.count("\n") == 1
    assert content(tmp_path) == before


def test_the_old_result_stays_until_the_new_one_is_whole(old):
    with Output(old.path, "train", overwrite=True) as output:
        new = output.begin()
        assert new.path == old.path / NEW
        result(new.path, {"model.eqx": "new", "runs/b/model.eqx": "new"})
        assert old.check("model.eqx", "again") and (old.path / "model.eqx").read_text() == "old"
        output.finish()
        assert not output.folder.strangers()
    assert {name for name in content(old.path) if "manifest" not in name} == {"model.eqx", "runs/b/model.eqx"}
    assert old.check("model.eqx", "again") and (old.path / "model.eqx").read_text() == "new"
    assert old.strangers() == [] and not (old.path / "runs" / "a").exists()


@pytest.mark.parametrize("moment", range(9))
def test_a_kill_while_results_are_exchanged_is_made_good(old, monkeypatch, moment):
    class Killed(BaseException):
        pass

    left = [moment]

    def dying(of):
        def call(self, *arguments, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return of(self, *arguments, **options)

        return call

    with Output(old.path, "train", overwrite=True) as output:
        result(output.begin().path, {"model.eqx": "new", "table.md": "new", "runs/a/model.eqx": "new"})
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying(Path.replace))
            patch.setattr(Path, "unlink", dying(Path.unlink))
            try:
                output.finish()
                killed = False
            except Killed:
                killed = True
    assert killed or left[0] >= 0
    with Output(old.path, "train", overwrite=False, resume=True) as output:
        output.refuse_used()
        output.finish()
    found = {name: text for name, text in content(old.path).items() if not name.endswith("manifest.json")}
    assert found == {"model.eqx": b"new", "table.md": b"new", "runs/a/model.eqx": b"new"}
    assert old.check("model.eqx", "again") and Folder(old.path / "runs/a", "").check("model.eqx", "again")
    assert old.strangers() == []


def test_a_file_that_was_put_there_meanwhile_is_not_replaced(old):
    new = old.part("new")
    result(new.path, {"table.md": "new"})
    (old.path / "table.md").write_text("mine")
    assert "table.md was put there in the meantime" in refusal(replace_result, old, new)
    assert (old.path / "table.md").read_text() == "mine" and (new.path / "table.md").read_text() == "new"


def test_an_interrupted_replacement_is_resumed(old):
    with Output(old.path, "train", overwrite=True) as output:
        first = output.begin()
        result(first.path, {"config.json": "new"})
    with Output(old.path, "train", overwrite=False, resume=True) as output:
        assert output.begin() == first
    with Output(old.path, "train", overwrite=True) as output:
        assert output.begin() == first and first.owned() == []  # --overwrite begins again


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_resume_of_another_command_is_refused(old, command):
    with Output(old.path, command, overwrite=False, resume=True) as output:
        assert f"is the directory of kuttax train: give that of kuttax {command}" in refusal(output.begin)


# The lock


def test_the_second_writer_is_refused_and_the_first_unharmed(tmp_path):
    with Lock(tmp_path) as first, Lock(tmp_path) as second:
        first.acquire()
        said = refusal(second.acquire)
        assert f"in use by process {os.getpid()} on " in said and " since " in said
        first.release()
        second.acquire()
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import sys, time
from pathlib import Path
from kuttax.io.lock import Lock
Lock(Path(sys.argv[1])).acquire()
print("locked", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with Lock(tmp_path) as own:
        assert f"process {process.pid} on" in refusal(own.acquire)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        own.acquire()
    assert list(tmp_path.iterdir()) == []


# Whole commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory, _some_certificate):
    out = tmp_path_factory.mktemp("folders") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kuttax.commands.run.certify_run", lambda *_: _some_certificate)
        command("train", "digits", *TINY, "--out", out)
    return out


def command(*arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    assert (stop.value.code or 0) == code


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_all_that_training_leaves_is_listed(trained):
    assert Folder(trained, "").strangers() == []
    assert all(
        entry.finished for name, entry in Manifest.read(trained).files.items() if "*" not in name and "[" not in name
    )


@pytest.mark.usefixtures("any_certificate")
def test_training_that_fails_leaves_the_old_result(run, monkeypatch, capsys):
    before = content(run)

    def fail(*_, **__):
        raise TrainingError("diverged")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", fail)
        command("train", "digits", *TINY, "--seed", 1, "--out", run, "--overwrite", code=1)
    kept = content(run)
    assert {name: kept[name] for name in before if name != "manifest.json"} == {
        name: text for name, text in before.items() if name != "manifest.json"
    }
    capsys.readouterr()
    command("evaluate", run)
    command("train", "digits", *TINY, "--seed", 1, "--out", run, "--overwrite")
    assert not (run / NEW).exists() and content(run)["model.eqx"] != before["model.eqx"]
    assert Folder(run, "").strangers() == []


@pytest.mark.slow
def test_certify_adds_its_files_to_the_manifest(run):
    with pytest.raises(SystemExit):
        cli.main(["certify", str(run), "--samples", "100"])
    assert Manifest.read(run).files["certificate.json"].command == "certify"
    assert Folder(run, "").strangers() == []


def test_certify_keeps_away_from_a_run_that_is_written(run, capsys):
    with Lock(run) as own:
        own.acquire()
        command("certify", run, code=2)
        command("train", "digits", *TINY, "--out", run, "--resume", code=2)
    assert capsys.readouterr().err.count(f"in use by process {os.getpid()}") == 2


def test_what_the_manifest_is_made_of(trained):
    """Its format, which is for others to read, too."""
    found = json.loads((trained / "manifest.json").read_text())
    assert found["format"] == "kuttax-manifest" and found["command"] == "train"
    assert set(found["files"]["model.eqx"]) == {"command", "kuttax", "bytes", "sha256", "finished"}
    assert module.manifest.digest(trained / "model.eqx") == found["files"]["model.eqx"]["sha256"]


@pytest.mark.slow
@pytest.mark.usefixtures("any_certificate")
def test_a_comparison_replaces_another_one_whole(tmp_path):
    out = tmp_path / "out"
    how = ("digits", "--seeds=1", "--nfe=4", "--train-steps=2", "--batch-size=72", "--evaluations=1", "--width=2")
    command("compare", *how, "--methods", "midpoint", "--out", out)
    (before,) = (out / "runs").iterdir()
    assert Folder(out, "").strangers() == [] and Folder(before, "").check("model.eqx", "again")
    command("compare", *how, "--methods", "rk4", "--out", out, "--overwrite")
    (after,) = (out / "runs").iterdir()
    assert after != before and not (out / NEW).exists()
    assert Folder(out, "").strangers() == [] and Folder(after, "").check("model.eqx", "again")
    assert Folder(out, "").check("records.jsonl", "again") and Folder(out, "").check("index.html", "again")
    command("report", out)
    (out / "index.html").unlink()
    (out / "manifest.json").unlink()
    (out / "table.md").write_text("mine")
    command("report", out, code=2)
    assert (out / "table.md").read_text() == "mine"
