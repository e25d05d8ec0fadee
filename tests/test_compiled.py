"""What XLA has compiled for one command serves the next ones: in processes, as it is there only without JAX."""

import os
import subprocess
import sys

import pytest

from kuttax.commands.program import compiled

PROGRAM = """
import sys, warnings
from kuttax.commands.program.compiled import keep_compiled
{before}
keep_compiled()
import jax, jax.numpy as jnp
print(jax.config.jax_compilation_cache_dir)
print(jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x))(jnp.arange(7.0)))
"""


def run(home, before="", **more):
    """The folder that JAX keeps programs in, and a number; standard error is empty."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env = {**own, **quick, "XDG_CACHE_HOME": str(home), **more}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    folder, number = done.stdout.splitlines()
    return folder, number


linux = pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is of Linux")


@linux
def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    folder, number = run(tmp_path)
    assert folder.startswith(str(tmp_path / "kuttax" / "compiled"))
    kept = sorted(os.listdir(folder))
    assert any("lambda" in name for name in kept)
    assert run(tmp_path) == (folder, number) and sorted(os.listdir(folder)) == kept


@linux
def test_what_was_written_by_half_is_compiled_again(tmp_path):
    folder, number = run(tmp_path)
    for name in os.listdir(folder):
        os.truncate(os.path.join(folder, name), 50)
    assert run(tmp_path) == (folder, number)


@linux
@pytest.mark.parametrize(
    "chosen", [{"JAX_COMPILATION_CACHE_DIR": "{}/own"}, {"JAX_ENABLE_COMPILATION_CACHE": "false"}], ids=str
)
def test_a_user_decides_with_the_variables_of_jax(tmp_path, chosen):
    folder, _ = run(tmp_path, **{name: value.format(tmp_path) for name, value in chosen.items()})
    assert folder == chosen.get("JAX_COMPILATION_CACHE_DIR", "None").format(tmp_path)
    assert not (tmp_path / "kuttax").exists()


@linux
def test_it_comes_before_jax_or_not_at_all(tmp_path):
    assert run(tmp_path, before="import jax")[0] == "None"


@linux
def test_a_cache_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "kuttax").write_text("no folder")
    assert run(tmp_path)[0] == "None"


def test_the_oldest_go_where_all_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_MOST", 25)
    for i in range(4):
        (tmp_path / f"{i}-cache").write_bytes(bytes(10))
        os.utime(tmp_path / f"{i}-cache", (i, i))
    compiled._tidy(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["2-cache", "3-cache"]
