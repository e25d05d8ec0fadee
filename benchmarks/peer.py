"""Peer: a library's worker in a process of its own, and who can be one."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from kuttax.errors import UserError

from .libraries import LIBRARIES

_ROOT = Path(__file__).resolve().parents[1]
Versions = dict[str, str]
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")


class PeerError(RuntimeError):
    """A process ended that should have answered; the message is the last line that it wrote."""


class Peer:
    """One library's process. It works only while it is asked something, and ends where the `with` block does.

    `source` is the `src` folder of another checkout of kuttax, to be measured in place of this one.
    """

    def __init__(self, library: str, device: str, python: str, source: Path | None = None):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed where the block ends)
        self._process = subprocess.Popen(
            [python, "-m", f"{__package__}.worker", library, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(device, source),
        )

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its answer.

        Raises:
            PeerError: The process ended instead.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise PeerError(last_line(self._errors) or f"its process ended with code {code}")
        return json.loads(answer)

    def kill(self) -> None:
        """End the process at once; whoever waits for its answer gets a `PeerError`."""
        self._process.kill()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def peers(libraries: Sequence[str], device: str, torch_python: str) -> Iterator[dict[str, Peer]]:
    """A process for each library."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Peer(name, device, interpreter(name, torch_python))) for name in libraries}


def last_line(errors: IO[str]) -> str:
    """The exception that a process died of, or else what it said last."""
    errors.seek(0)
    lines = [line.strip() for line in errors if line.strip()]
    exceptions = [line for line in lines if _EXCEPTION.match(line)]
    return (exceptions or lines or [""])[-1]


def environment(device: str, source: Path | None = None) -> dict[str, str]:
    """The environment of a worker: full float32, nothing compiled beforehand, memory taken as it is needed."""
    paths = [None if source is None else str(source), str(_ROOT), os.environ.get("PYTHONPATH")]
    settings = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if device != "auto":
        settings["JAX_PLATFORMS"] = {"cuda": "cuda,cpu"}.get(device, device)  # callbacks run on the CPU
    return {**os.environ, **settings}


def interpreter(library: str, torch_python: str) -> str:
    """The Python that runs a library."""
    return torch_python if LIBRARIES[library].torch else sys.executable


def installed(libraries: Sequence[str], torch_python: str) -> dict[str, Versions]:
    """The versions of each library's packages, of the libraries that have all of theirs.

    Raises:
        UserError: `torch_python` is no Python.
    """
    found: dict[str, Versions] = {}
    for python in dict.fromkeys(interpreter(name, torch_python) for name in libraries):
        names = [name for name in libraries if interpreter(name, torch_python) == python]
        there = _versions(python, sorted({package for name in names for package in LIBRARIES[name].packages}))
        for name in names:
            wanted = LIBRARIES[name].packages
            if set(wanted) <= set(there):
                found[name] = {package: there[package] for package in ("python", *wanted)}
    return found


def _versions(python: str, packages: Sequence[str]) -> Versions:
    command = [python, "-m", f"{__package__}.machine", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment("auto"), check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise UserError(f"--torch-python {python} does not run: name a Python interpreter") from None
