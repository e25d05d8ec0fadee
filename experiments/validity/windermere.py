"""Lady Windermere's fan: a model that classifies by the accumulated error of its solver.

    python -m experiments.validity.windermere

XOR: discs around the corners (0, 0) and (1, 1) are one class, those around (0, 1) and (1, 0) the other. The field is
z' = [[a, 1], [-g |z|^d, b]] z, of Ott, Katiyar, Hennig, Tiemann (ICLR 2021, arXiv 2007.15386, section 2): a spiral that
turns the faster the further out. Euler's method adds a growth of h w^2 / 2 to a rotation of frequency w; each step is
accurate, but over a long time this moves the discs apart by their radius. At h = 10^-2.5 a line separates the classes,
at h = 10^-3.5, and in the exact flow, none does.

The paper gives the form of the field; a, b, g, d and T are our own search's. The line is fitted where h = 10^-2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.svm import SVC

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.data import Dataset
from kuttax.report.figure import figure

from ..ledger import Ledger
from .options import parser

CORNERS = ((0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1))
"""x, y and class."""
OWN, FINE = -2.5, -3.5
"""Exponents of the step that the line is fitted at, and of one that is ten times finer."""
COLOURS = ("#c2410c", "#1d4ed8")


@dataclass(frozen=True)
class Fan:
    """The problem: parameters of the field, the time that it runs, and the radius of the discs."""

    a: float = -0.005
    b: float = -0.115
    g: float = 4.3
    d: float = 0.7
    time: float = 40.0
    radius: float = 0.03

    def field(self, t: Any, z: Float[Array, " 2"], args: Any) -> Float[Array, " 2"]:
        """The derivative of one sample."""
        del t, args
        stiffness = self.g * jnp.sum(z**2) ** (self.d / 2)
        return jnp.stack([self.a * z[0] + z[1], self.b * z[1] - stiffness * z[0]])

    def data(self, samples: int, seed: int) -> Dataset:
        """`samples` points of each disc, uniform in it."""
        rng = np.random.default_rng(seed)
        radius = self.radius * np.sqrt(rng.random((len(CORNERS), samples, 1)))
        angle = 2 * np.pi * rng.random((len(CORNERS), samples))
        corners = np.array(CORNERS)
        x = corners[:, None, :2] + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return Dataset(x.reshape(-1, 2), np.repeat(corners[:, 2], samples).astype(np.int32))

    def steps(self, exponent: float) -> int:
        """How many steps of size 10^exponent the time takes."""
        return round(self.time / 10**exponent)

    def states(self, solver: Any, x: Any) -> Array:
        """Where the points are at the end."""
        return kx.solve(self.field, jnp.asarray(x), 0.0, self.time, solver=solver, batch_axis=0).y1


@dataclass(frozen=True)
class Line:
    """The classifier behind the solve: class 1 where normal . z > offset."""

    normal: np.ndarray
    offset: float

    @classmethod
    def fitted(cls, z: np.ndarray, labels: np.ndarray) -> Line:
        """The line of the widest margin, a linear support vector machine that hardly allows errors."""
        scale = np.abs(z).max()
        machine = SVC(kernel="linear", C=1e4).fit(z / scale, labels)
        return cls(machine.coef_[0] / scale, -float(machine.intercept_[0]))

    def logits(self, z: Any) -> Any:
        """Two logits a point."""
        score = jnp.asarray(z) @ jnp.asarray(self.normal, z.dtype) - self.offset
        return jnp.stack([-score / 2, score / 2], axis=1)

    def accuracy(self, z: np.ndarray, labels: np.ndarray) -> float:
        """In percent; a point that overflowed is wrong."""
        right = (z @ self.normal > self.offset) == labels.astype(bool)
        return 100 * float(np.mean(right & np.isfinite(z).all(axis=1)))


def euler(fan: Fan, exponent: float) -> kx.FixedSteps:
    """Euler's method at a step of about 10^exponent."""
    return kx.FixedSteps(kx.tableaus.EULER, fan.steps(exponent))


def exact(fan: Fan) -> kx.FixedSteps:
    """RK4 at a step at which its error is below what is drawn."""
    return kx.FixedSteps(kx.tableaus.RK4, fan.steps(OWN))


def fitted(fan: Fan, own: float, samples: int) -> Line:
    """The model's line, at the step 10^own."""
    train = fan.data(samples, seed=0)
    return Line.fitted(np.asarray(fan.states(euler(fan, own), train.x)), train.y)


def measure(fan: Fan, solver: kx.FixedSteps, line: Line, samples: int) -> dict[str, Any]:
    """What another solver makes of the model, on points that no line was fitted to.

    "fitted" is the accuracy of the model's own line, "refitted" that of a line fitted to this solver's states;
    "deviation" is the root mean square distance from the states that RK4 gives.
    """
    train, test = fan.data(samples, seed=0), fan.data(samples, seed=1)
    z_train, z_test = (np.asarray(fan.states(solver, part.x)) for part in (train, test))
    truth = np.asarray(fan.states(exact(fan), test.x))
    return {
        "step": fan.time / solver.steps,
        "fitted": line.accuracy(z_test, test.y),
        "refitted": Line.fitted(z_train, train.y).accuracy(z_test, test.y),
        "deviation": float(np.sqrt(np.mean(np.sum((z_test - truth) ** 2, axis=1)))),
        "points": len(test.y),
        "fan": vars(fan),
    }


def draw(fan: Fan, rows: list[dict[str, Any]], line: Line, path: Path, samples: int) -> None:
    """Where the points end under both steps, with the model's line; and accuracy against the step size."""
    data = fan.data(samples, seed=1)
    with figure(12.5, 4.2, path) as blank:
        left, middle, right = blank.subplots(1, 3)
        for axes, exponent in ((left, OWN), (middle, FINE)):
            z = np.asarray(fan.states(euler(fan, exponent), data.x))
            for label, colour in enumerate(COLOURS):
                axes.plot(*z[data.y == label].T, "o", ms=3, mew=0, alpha=0.7, color=colour, label=f"class {label}")
            _line(axes, line)
            title = f"Euler, h = $10^{{{exponent:g}}}$: {line.accuracy(z, data.y):.0f} %"
            axes.set(title=title, xlabel="$z_1(T)$", ylabel="$z_2(T)$")
            axes.legend(fontsize=8)
        shown = sorted((row for row in rows if row["scheme"] == "euler"), key=lambda row: row["step"])
        h = [row["step"] for row in shown]
        right.plot(h, [row["fitted"] for row in shown], "o-", color="#1b1b1e", label=f"line fitted at $10^{{{OWN:g}}}$")
        right.plot(h, [row["refitted"] for row in shown], "s--", color="#6b7280", label="line fitted at this h")
        truth = next(row for row in rows if row["scheme"] == "rk4")
        right.axhline(truth["fitted"], color=COLOURS[0], lw=1, label="exact flow, line as fitted")
        right.set(xscale="log", xlabel="Euler's step h", ylabel="accuracy (%)", title="The error is the feature")
        right.legend(fontsize=8)


def _line(axes: Any, line: Line) -> None:
    """Draw the line within the limits that the points gave."""
    limits = axes.get_xlim(), axes.get_ylim()
    foot = line.normal * line.offset / (line.normal @ line.normal)
    along = np.array([-line.normal[1], line.normal[0]]) / np.linalg.norm(line.normal)
    ends = np.stack([foot - 100 * along, foot + 100 * along])
    axes.plot(*ends.T, color="#1b1b1e", lw=1)
    axes.set(xlim=limits[0], ylim=limits[1])


def prediction(fan: Fan, line: Line, solver: Any, batch: Dataset) -> kx.Prediction:
    """What the model makes of a batch with this solver, for its certificate."""
    given = {"solver": solver, "batch_axis": 0, "max_steps": 16384, "throw": False}
    sol = kx.solve(fan.field, jnp.asarray(batch.x), 0.0, fan.time, **given)
    logits = line.logits(sol.y1)
    right = (jnp.argmax(logits, axis=1) == jnp.asarray(batch.y)).astype(logits.dtype)
    return kx.Prediction(logits, 100 * jnp.mean(right), jnp.asarray(batch.y), sol.stats)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__, studies=()).parse_args(arguments)
    fan, samples = sizes(given.smoke)
    exponents = (OWN, FINE) if given.smoke else (-2.3, -2.4, OWN, -2.6, -2.75, -3.0, -3.25, FINE, -4.0)
    ledger = Ledger(given.out / "windermere.jsonl")
    with jax.enable_x64(True):
        line = fitted(fan, OWN, samples)
        for exponent in (None, *exponents):
            about = {"kind": "fan", "scheme": "rk4" if exponent is None else "euler", "exponent": exponent}
            solver = exact(fan) if exponent is None else euler(fan, exponent)
            run = lambda: {"dtype": "float64", **measure(fan, solver, line, samples)}  # noqa: B023
            ledger.once(about, run)
        draw(fan, ledger.all(kind="fan"), line, given.out / "windermere", samples)


def sizes(smoke: bool) -> tuple[Fan, int]:
    """The problem, and the points of each disc."""
    return (Fan(time=1.0), 10) if smoke else (Fan(), 250)


if __name__ == "__main__":
    ending.run(main, program="experiments")
