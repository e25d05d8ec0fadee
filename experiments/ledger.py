"""Ledger: a file of records that knows what is done, so that a command which was stopped goes on where it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kuttax as kx
from kuttax.commands.run import environment
from kuttax.io import records
from kuttax.io.records import Record
from kuttax.training.loop import TrainingError


class Ledger:
    """The records of one study.

    Args:
        path: A JSONL file; it is made with the first record.
    """

    def __init__(self, path: Path):
        self.path = path

    def all(self, **about: Any) -> list[Record]:
        """The records that say all of this."""
        found = records.read(self.path) if self.path.exists() else []
        return [r for r in found if all(name in r and r[name] == value for name, value in about.items())]

    def once(self, about: dict[str, Any], run: Callable[[], dict[str, Any]]) -> Record:
        """The record about this: the one that is there, or a new one with what `run` finds."""
        done = self.all(**about)
        if not done:
            records.append(self.path, {**environment(), **about, **run()})
            done = self.all(**about)
            print({name: value for name, value in done[0].items() if not isinstance(value, dict | list)}, flush=True)
        return done[0]

    def attempt(self, about: dict[str, Any], run: Callable[[], dict[str, Any]], **failed: Any) -> Record:
        """As `once`; where the solver or the training gives up, the record has `failed` and an "error"."""

        def guarded() -> dict[str, Any]:
            try:
                return run()
            except (kx.SolveError, TrainingError) as error:
                return {**failed, "error": str(error)}

        return self.once(about, guarded)
