"""Two processes on one folder, ten times: is one refused, and does the other end as if it had been alone?

    python -m experiments.resume.pairs [--out DIR] [--pairs 10] [--seed 0] [--smoke]

The second process starts at a random moment in the life of the first, in every second pair at the same time, and asks
to resume or to overwrite. Every pair is a record in pairs.jsonl; what is recorded there is not repeated.
"""

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from kuttax.commands.program import ending

from .kills import Process, Study, ended

CASE, LATEST = "midpoint", 0.7


def pair(study: Study, number: int, seed: int) -> None:
    """Run one pair, and record it."""
    whole, rng = study.whole(CASE), np.random.default_rng([seed, number])
    late = number % 2 * LATEST * rng.random() * whole.seconds
    second = str(rng.choice(["--resume", "--overwrite"]))
    directory = study.scratch / f"pair-{number}" / "run"
    directory.parent.mkdir()
    processes = [Process(CASE, directory, study.smoke)]
    time.sleep(late)
    processes.append(Process(CASE, directory, study.smoke, second, directory.with_suffix(".second")))
    (code, said), (other_code, other_said) = (process.end() for process in processes)
    refusal = other_said if other_code else said
    study.append(
        "pair",
        case=CASE,
        number=number,
        second=second,
        seconds=late,
        one_refused=sorted((code, other_code)) == [0, 2] and refusal.strip().count("\n") == 0,
        refusal=refusal.strip().replace(str(directory), "RUN")[:300],
        equal=ended(directory) == whole.files,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="tiny runs")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message=r"os\.fork")  # JAX has no threads yet: nothing is computed here
    with tempfile.TemporaryDirectory() as scratch:
        study = Study(given.out / "pairs.jsonl", given.seed, given.smoke, Path(scratch))
        for number in range(len(study.all("pair")), given.pairs):
            pair(study, number, given.seed)
    found = study.all("pair")
    good = sum(record["one_refused"] and record["equal"] for record in found)
    print(f"{good} of {len(found)} pairs: one process refused in one line, the other's run the same as undisturbed")
    if good < len(found):
        sys.exit("two processes disturbed each other: see pairs.jsonl")


if __name__ == "__main__":
    ending.run(main, program="experiments")
