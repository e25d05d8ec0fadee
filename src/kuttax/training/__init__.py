"""Training: the loop, its settings, its checkpoints, and finished runs on the disk."""

from ..io.checkpoints import Checkpoints
from .certify import certify_run
from .checkpoint import load_run, save_run
from .evaluate import Evaluation, evaluate, predict
from .failure import Failures, TrainingError
from .log import Log
from .loop import Progress, Trained, Trainer
from .parallel import DataParallel, joined
from .saving import Stopped
from .settings import Settings

__all__ = [
    "Checkpoints",
    "DataParallel",
    "Evaluation",
    "Failures",
    "Log",
    "Progress",
    "Settings",
    "Stopped",
    "Trained",
    "Trainer",
    "TrainingError",
    "certify_run",
    "evaluate",
    "joined",
    "load_run",
    "predict",
    "save_run",
]
