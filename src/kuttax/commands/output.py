"""The directory that a command writes to."""

import shutil
from pathlib import Path

from ..errors import UserError

_OURS = ("records.jsonl", "config.json", "runs", "table.md", "table.csv", "index.html", "model.eqx", "solver.json")
_OURS_TOO = ("run.json", "metrics.jsonl", "accuracy_nfe.png", "accuracy_nfe.svg", "curves.png", "curves.svg")


def prepare(out: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Make the directory. Of one that is not empty, only what kuttax wrote is ever removed, and only if asked to.

    Raises:
        UserError: It is a file, or not empty and neither `overwrite` nor `resume` was asked for.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a directory")
    if out.exists() and any(out.iterdir()) and not resume:
        if not overwrite:
            raise UserError(f"--out {out} is not empty: give --overwrite to replace its results, or another --out")
        for name in (*_OURS, *_OURS_TOO):
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be made ({error.strerror}): name another directory") from None
