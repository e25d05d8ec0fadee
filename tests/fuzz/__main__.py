"""The fuzz command: see `tests.fuzz`."""

import argparse
import sys
from pathlib import Path

import jax

from kuttax import records
from kuttax.commands.run import environment

from . import __doc__ as usage
from . import outcome

PARTS = ("engine", "commands", "files")


def run_part(part: str, seed: int, cases: range) -> outcome.Run:
    """The cases of one part."""
    from . import commands, engine, files

    return outcome.run(part, seed, cases, {"engine": engine, "commands": commands, "files": files}[part].try_case)


def main() -> None:
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--cases", type=int, default=600, help="of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this case alone")
    parser.add_argument("--record", action="store_true", help="add what is found to experiments/fuzz/records.jsonl")
    given = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    cases = range(given.cases) if given.case is None else range(given.case, given.case + 1)
    runs = [run_part(part, given.seed, cases) for part in given.parts or PARTS]
    for run in runs:
        print(
            f"{run.part}: {run.kinds.total()} cases, {len(run.faults)} faults, {dict(run.kinds)}, {run.seconds:.0f} s"
        )
        if given.record:
            ledger = Path(__file__).parents[2] / "experiments" / "fuzz" / "records.jsonl"
            records.append(ledger, {**environment(), **run.record()})
    sys.exit(any(run.faults for run in runs))


if __name__ == "__main__":
    main()
