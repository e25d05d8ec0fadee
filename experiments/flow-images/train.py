"""Train the flow and the classifier of a data set in PyTorch, as a user would bring them.

    python -m experiments.flow-images.train mnist --data-dir DIR [--steps N] [--out DIR]

The weights go to weights/, and are not trained again while they are there.
"""

import argparse
import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .data import FILES, SHAPES, load
from .unet import Classifier, UNet

WIDTHS = (16, 32, 48)
HERE = Path(__file__).parent / "weights"
_BATCH = 64


def flow_of(name: str) -> UNet:
    """The untrained flow of a data set."""
    return UNet(SHAPES[name][0], WIDTHS)


def restored(module: torch.nn.Module, path: Path) -> torch.nn.Module:
    """A module with the weights in a file, ready for use."""
    with np.load(path) as file:
        module.load_state_dict({name: torch.from_numpy(file[name]) for name in file.files})
    return module.eval().requires_grad_(False)


def saved(module: torch.nn.Module, path: Path) -> None:
    """Write the weights of a module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: x.detach().numpy() for name, x in module.state_dict().items()})


def train_flow(name: str, x: torch.Tensor, steps: int, seed: int = 0) -> UNet:
    """Flow matching along straight lines from noise to images (Lipman et al., ICLR 2023); a mean of late weights."""
    torch.manual_seed(seed)
    model = flow_of(name)
    mean = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps, pct_start=0.05)
    begin, running = time.perf_counter(), math.nan
    for step in range(steps):
        data = x[torch.randint(len(x), (_BATCH,))]
        noise, t = torch.randn_like(data), torch.rand(_BATCH)
        along = (1 - t)[:, None, None, None] * noise + t[:, None, None, None] * data
        loss = (model(t, along) - (data - noise)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        keep = min(0.999, (1 + step) / (10 + step))
        for old, new in zip(mean.parameters(), model.parameters(), strict=True):
            old.data.lerp_(new.data, 1 - keep)
        running = loss.item() if step == 0 else 0.99 * running + 0.01 * loss.item()
        if step % 250 == 249 or step == steps - 1:
            print(f"{name} flow: step {step + 1}, loss {running:.4f}, {time.perf_counter() - begin:.0f} s", flush=True)
    return mean


def train_classifier(name: str, data: dict[str, torch.Tensor], epochs: int, seed: int = 0) -> Classifier:
    """A classifier of the images, by cross-entropy."""
    torch.manual_seed(seed)
    model, x, y = Classifier(*SHAPES[name]), data["x_train"], data["y_train"]
    batches = max(1, len(x) // 128)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, epochs * batches)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for n in range(batches):
            rows = order[n * 128 : (n + 1) * 128]
            flip = torch.rand(len(rows)) < (0.5 if name == "cifar10" else 0.0)
            seen = torch.where(flip[:, None, None, None], x[rows].flip(3), x[rows])
            loss = torch.nn.functional.cross_entropy(model(seen), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        right = (model(data["x_test"]).argmax(1) == data["y_test"]).float().mean()
    print(f"{name} classifier: {100 * right:.1f} % of the test images", flush=True)
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=FILES)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--steps", type=int, default=6000, help="of the flow")
    parser.add_argument("--epochs", type=int, default=10, help="of the classifier")
    options = parser.parse_args(arguments)
    data = load(options.name, options.data_dir)
    if not (path := options.out / f"{options.name}-classifier.npz").exists():
        saved(train_classifier(options.name, data, options.epochs), path)
    if not (path := options.out / f"{options.name}-flow.npz").exists():
        saved(train_flow(options.name, data["x_train"], options.steps), path)


if __name__ == "__main__":
    main()
