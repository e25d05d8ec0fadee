"""What a solve of a PyTorch field costs beside the same evaluations in PyTorch, and whether its gradient is autograd's.

    python -m experiments.flow-images.cost [--flow mnist] [--images 64] [--repeats 15] [--out DIR]

The two take turns. One record goes to cost.jsonl.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.commands.run import environment
from kuttax.io import records

from .flows import FLOWS

SOLVER = kx.FixedSteps(kx.tableaus.MIDPOINT, 4)


def in_torch(velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The same scheme, written out."""
    h = 1 / SOLVER.steps
    for n in range(SOLVER.steps):
        t = torch.tensor(n * h)
        x = x + h * velocity(t + h / 2, x + h / 2 * velocity(t, x))
    return x


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", choices=FLOWS, default="mnist")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args(arguments)
    flow = FLOWS[options.flow](Path(), options.out)
    noise, ratios, ours, theirs = flow.noise(options.images, 0), [], None, None
    for repeat in range(options.repeats + 1):
        begin = time.perf_counter()
        with torch.no_grad():
            theirs = in_torch(flow.velocity, noise)
        middle = time.perf_counter()
        ours = np.asarray(kx.solve(flow.field, noise, 0.0, 1.0, solver=SOLVER, batch_axis=0).y1)
        if repeat:  # the first one compiles
            ratios.append((time.perf_counter() - middle) / (middle - begin))
    few = noise[:4]
    loss = lambda x: jnp.mean(jnp.sin(kx.solve(flow.field, x, 0.0, 1.0, solver=SOLVER, batch_axis=0).y1))
    own = np.asarray(jax.grad(loss)(jnp.asarray(few.numpy())))
    torch.sin(in_torch(flow.velocity, few.requires_grad_())).mean().backward()
    assert few.grad is not None and ours is not None and theirs is not None
    expected = few.grad.numpy()
    record = {
        "flow": options.flow,
        "images": options.images,
        "nfe": SOLVER.nfe,
        "ratio": statistics.median(ratios),
        "ratios": sorted(ratios),
        "largest_difference": float(np.abs(ours - theirs.numpy()).max()),
        "gradient_error": float(np.abs(own - expected).max() / np.abs(expected).max()),
        **environment(),
    }
    records.append(options.out / "cost.jsonl", record)
    print({name: record[name] for name in ("flow", "images", "nfe", "ratio", "largest_difference", "gradient_error")})


if __name__ == "__main__":
    ending.run(main, program="experiments")
