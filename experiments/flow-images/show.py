"""A picture of what the samplers make of the same noise.

    python -m experiments.flow-images.show cifar10 [--nfe 4] [--data-dir DIR] [--out DIR]

Writes samples-FLOW.png: a row for the accurate solver, one for the free student in records.jsonl, and one for each of
the best samplers that need no fit.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.io.records import Record
from kuttax.report.figure import figure
from kuttax.solvers.serialise import from_json

from ..ledger import Ledger
from .flows import FLOWS, Flow
from .samplers import by_kuttax, peers

HERE = Path(__file__).parent
COLUMNS, PEERS = 6, 2


def distance(samples: torch.Tensor, truth: torch.Tensor) -> float:
    """The root mean square over images and pixels."""
    return float((samples - truth).square().mean().sqrt())


def rows(flow: Flow, nfe: int, found: Sequence[Record]) -> dict[str, torch.Tensor]:
    """The images of each sampler by its label, the accurate ones first."""
    noise, truth = (x[:COLUMNS] for x in flow.fresh())
    records = [r for r in found if (r["flow"], r["nfe"]) == (flow.name, nfe)]
    fits = [r for r in records if r["method"].startswith("free")]
    names = sorted((r["rmse"], r["method"]) for r in records if "seed" not in r)[:PEERS]
    made = {"kuttax, fitted": by_kuttax(flow.field, from_json(fits[0]["solver"]))}
    made |= {name: make(flow) for name, make in peers(nfe) if name in [name for _, name in names]}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", kx.OffGridWarning)
        images = {name: sampler(noise) for name, sampler in made.items()}
    order = sorted(images, key=lambda name: distance(images[name], truth))
    shown = {f"{name}\n{nfe} evaluations": images[name] for name in order}
    return {"accurate solver": truth, **shown}


def draw(shown: dict[str, torch.Tensor], path: Path) -> None:
    """The images in a grid, values from -1 to 1 as grey or colour."""
    with figure(1.0 * COLUMNS + 1.7, 1.05 * len(shown), path) as canvas:
        grid = canvas.subplots(len(shown), COLUMNS, squeeze=False)
        for line, (label, images) in zip(grid, shown.items(), strict=True):
            for axes, image in zip(line, images.numpy(), strict=True):
                pixels = np.clip(0.5 + image / 2, 0, 1).transpose(1, 2, 0)
                axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray", vmin=0, vmax=1)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=11)
    path.with_suffix(".svg").unlink()  # pixels gain nothing by it


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", choices=("mnist", "cifar10"))
    parser.add_argument("--nfe", type=int, default=4)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args(arguments)
    flow = FLOWS[options.flow](options.data_dir, options.out)
    draw(rows(flow, options.nfe, Ledger(options.out / "records.jsonl").all()), options.out / f"samples-{flow.name}.png")


if __name__ == "__main__":
    ending.run(main, program="experiments")
