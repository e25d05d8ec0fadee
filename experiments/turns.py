"""Times in turns: every program once in every round, so that the machine's moods fall on all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def in_turns(programs: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[float]]:
    """Milliseconds of each program in each round, after one round that compiles."""
    times: dict[Any, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            begin = time.perf_counter()
            jax.block_until_ready(program())
            if number:
                times[name].append(round(1e3 * (time.perf_counter() - begin), 3))
    return times
