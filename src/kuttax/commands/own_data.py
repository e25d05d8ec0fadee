"""Own data: what a command says of the data it was given, and batches that are no larger than they are."""

from dataclasses import replace

import jax
from rich.console import Console

from ..tasks.abilities import HasSummary
from ..tasks.base import Task
from ..training.settings import Settings


def settings_for(task: Task, settings: Settings, console: Console) -> Settings:
    """The settings, with batches of at most all training samples; what the data were understood as is said.

    Args:
        task: The task.
        settings: As the options give them.
        console: For the summary of the data, and for what is changed.
    """
    if isinstance(task, HasSummary) and task.summary:
        console.out(f"data: {task.summary}", highlight=False)
    samples = len(jax.tree.leaves(task.train)[0])
    if settings.batch_size <= samples:
        return settings
    console.out(f"batch size: {samples} in place of {settings.batch_size}: there are no more training samples")
    return replace(settings, batch_size=samples)
