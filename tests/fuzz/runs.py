"""The smallest finished runs and data files, made once and copied for every case."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .invoke import invoke

QUICK = ("--train-steps", "2", "--batch-size", "16", "--evaluations", "1")
TINY = {
    "digits": ("--width", "4"),
    "spheres": ("--field", "mlp", "--width", "4", "--depth", "1", "--samples", "80", "--test-samples", "16"),
    "dynamics": ("--system", "pendulum", "--trajectories", "5", "--samples", "12", "--width", "4", "--horizon", "3"),
    "density": ("--samples", "80", "--test-samples", "32", "--width", "4", "--depth", "1"),
    "flow": ("--samples", "80", "--test-samples", "32", "--width", "4", "--depth", "1"),
    "latent": ("--samples", "40", "--latent", "2", "--width", "4", "--hidden", "4"),
    "spiral-sde": ("--trajectories", "32", "--held-out", "16", "--width", "4"),
}
"""Options that make a task train in seconds; those whose data must be fetched are not among them."""

_FIXED = ("--solver", "midpoint", "--steps", "2")
MADE = {
    "classifier": ("train", "digits", *QUICK, *TINY["digits"], *_FIXED),
    "learned": ("train", "digits", *QUICK, *TINY["digits"], "--solver", "learned", "--stages", "2", "--steps", "2"),
    "forecast": ("train", "dynamics", *QUICK, "--width", "4", "--horizon", "3", "--file", "trajectories.csv", *_FIXED),
    "comparison": ("compare", "digits", *QUICK, *TINY["digits"], "--nfe", "2", "--seeds", "1", "--methods", "midpoint"),
}


@functools.cache
def library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def finished(name: str) -> Path:
    """The folder of a finished run or comparison, one of `MADE`; not to be changed."""
    folder = library()
    write_data(folder)
    ended = invoke((*MADE[name], "--out", name), folder)
    assert ended.code == 0, ended.err
    return folder / name


def copied(name: str, folder: Path) -> Path:
    """A copy of a finished run in `folder`, beside the data that it was trained on."""
    write_data(folder)
    return Path(shutil.copytree(finished(name), folder / name))


def write_data(folder: Path) -> None:
    """A file of trajectories, and tables of points as text and as arrays."""
    rng, t = np.random.default_rng(0), np.linspace(0, 3, 16)
    rows = [f"{n},{x:.4f},{np.cos(x + n):.6f},{-np.sin(x + n):.6f}" for n in range(6) for x in t]
    (folder / "trajectories.csv").write_text("\n".join(["trajectory,t,x1,x2", *rows]) + "\n")
    points = rng.normal(size=(60, 2))
    np.savetxt(folder / "points.csv", points, delimiter=",", header="x,y", comments="")
    np.savez(folder / "points.npz", x=points)
