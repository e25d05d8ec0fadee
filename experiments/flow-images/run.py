"""Few evaluations of a flow of images in PyTorch: fitted solvers against samplers that need no fit.

    python -m experiments.flow-images.run --data-dir DIR [--flows mnist cifar10 8gaussians] [--nfe 4 8] [--seeds N]

The flows are those that `train.py` leaves in weights/; 8gaussians is exact and needs none. One record a finished
measurement goes to records.jsonl; what is recorded there is not repeated. `draw.py` makes the tables from the records.
"""

import argparse
import functools
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import torch

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.solvers.serialise import to_json

from ..ledger import Ledger
from . import draw
from .flows import FLOWS, Flow
from .samplers import Sampler, by_kuttax, peers

KINDS = {
    "free": {"kind": "free", "objective": "end"},
    "free, one step": {"kind": "free", "objective": "end", "steps": 1},
    "free, relaxed": {"kind": "free", "objective": "relaxed"},
    "anchored": {"kind": "anchored", "objective": "end"},
    "per step": {"kind": "per_step", "objective": "end"},
}
"""What is fitted: a kind of student, what the fit makes small, and the largest number of its steps if the flow does not
say it. "relaxed" is LD3's objective."""


def sampled(sampler: Sampler, flow: Flow) -> dict[str, Any]:
    """Distances of fresh samples to the teacher's, and to the data."""
    noise, truth = flow.fresh()
    begin = time.perf_counter()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", kx.OffGridWarning)
        samples = torch.cat([sampler(part) for part in noise.split(64)])
    seconds = time.perf_counter() - begin
    each = (samples - truth).flatten(1).square().mean(1).sqrt()
    return {
        "rmse": float(each.square().mean().sqrt()),
        "median": float(each.median()),
        "frechet": flow.frechet(samples),
        "sample_seconds": seconds,
    }


def fitted(flow: Flow, kind: str, nfe: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The same for a student fitted to this flow, with what the fit took."""
    what, key = KINDS[kind], jax.random.key(seed)
    begin, cpu = time.perf_counter(), time.process_time()
    found = kx.distill(
        flow.field,
        flow.noise(options.starts or flow.work // nfe, seed),
        0.0,
        1.0,
        student=kx.student(what["kind"], nfe),
        objective=what["objective"],
        teacher=flow.teacher(),
        max_steps=options.steps or what.get("steps", flow.steps),
        saved=options.out / "runs" / f"{flow.name}-{seed}",
        report=lambda now: print(f"{flow.name}, {nfe}, {kind}, seed {seed}: {now}", flush=True),
        key=key,
    )
    return {
        **sampled(by_kuttax(flow.field, found.solver), flow),
        "held_out": found.error,
        "fit_seconds": time.perf_counter() - begin,
        "fit_cpu_seconds": time.process_time() - cpu,
        "fit_steps": found.steps,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(found.solver)),
        "solver": to_json(found.solver),
    }


def study(flow: Flow, seed: int, options: argparse.Namespace, ledger: Ledger) -> None:
    """What is not recorded yet of one seed of a flow."""
    for nfe in options.nfe:
        about = {"flow": flow.name, "nfe": nfe}
        for name, made in peers(nfe):
            ledger.once({**about, "method": name}, functools.partial(lambda made: sampled(made(flow), flow), made))
        for kind in options.kinds:
            ledger.once(
                {**about, "method": kind, "seed": seed}, functools.partial(fitted, flow, kind, nfe, seed, options)
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--flows", nargs="+", choices=FLOWS, default=list(FLOWS), metavar="FLOW")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--nfe", type=int, nargs="+", default=[3, 4, 6, 8, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, help="of a fit (default: as the flow says)")
    parser.add_argument("--steps", type=int, help="of a fit, at most (default: as the flow says)")
    options = parser.parse_args(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for seed in range(options.seeds):
        for name in options.flows:
            study(FLOWS[name](options.data_dir, options.out), seed, options, ledger)
    draw.main(options.out)


if __name__ == "__main__":
    ending.run(main, program="experiments")
