"""The directory that a command writes to."""

import shutil
from pathlib import Path

from ..errors import UserError

_OURS = ("records.jsonl", "config.json", "runs", "table.md", "table.csv", "index.html", "model.eqx", "solver.json")
_OURS_TOO = (
    "run.json",
    "record.json",
    "metrics.jsonl",
    "metrics-warm-up.jsonl",
    "metrics-training.jsonl",
    "checkpoints",
    "solver_torch.py",
    "accuracy_nfe.png",
    "accuracy_nfe.svg",
    "curves.png",
    "curves.svg",
    "certificate.json",
    "certificate.png",
    "certificate.svg",
    "density.npz",
    "density.png",
    "density.svg",
    "fan.npz",
    "fan.png",
    "fan.svg",
    "forecast.json",
    "forecast.png",
    "forecast.svg",
    "reconstruction.npz",
    "reconstruction.png",
    "reconstruction.svg",
    "forecasts.png",
    "forecasts.svg",
)


def refuse_used(out: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Find out whether `prepare` will do, before anything costly is done; touches nothing.

    Raises:
        UserError: The directory is a file, or not empty and neither `overwrite` nor `resume` was asked for, or both.
    """
    if overwrite and resume:
        raise UserError("--overwrite and --resume contradict each other: give one of them")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a directory")
    if out.exists() and any(out.iterdir()) and not (overwrite or resume):
        raise UserError(f"--out {out} is not empty: give --overwrite to replace its results, or another --out")


def prepare(out: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Make the directory. Of one that is not empty, only what kuttax wrote is ever removed, and only if asked to.

    Call it last, when nothing can be wrong with the options any more: what it removes is gone.

    Raises:
        UserError: As `refuse_used`, or the directory cannot be made.
    """
    refuse_used(out, overwrite=overwrite, resume=resume)
    for name in (*_OURS, *_OURS_TOO) if overwrite else ():
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be made ({error.strerror}): name another directory") from None
