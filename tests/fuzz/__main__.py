"""The fuzz command: see `tests.fuzz`."""

import argparse
import sys
from pathlib import Path

import jax

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
    parser.add_argument("--record", action="store_true", help="add the run to experiments/fuzz/records.jsonl")
    given = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    cases = range(given.cases) if given.case is None else range(given.case, given.case + 1)
    if given.record:
        faults = [record(part, given.seed, given.cases) for part in given.parts or PARTS]
    else:
        faults = [len(said(run_part(part, given.seed, cases)).faults) for part in given.parts or PARTS]
    sys.exit(any(faults))


def said(run: outcome.Run) -> outcome.Run:
    """The run, whose result is printed in one line."""
    cases, faults = run.kinds.total(), len(run.faults)
    print(f"{run.part}: {cases} cases, {faults} faults, {dict(run.kinds)}, {run.seconds:.0f} s", flush=True)
    return run


def record(part: str, seed: int, cases: int) -> int:
    """The number of faults of a run that is recorded; what is recorded is not run again."""
    from experiments.ledger import Ledger

    ledger = Ledger(Path(__file__).parents[2] / "experiments" / "fuzz" / "records.jsonl")
    about = {"part": part, "seed": seed, "cases": cases}
    return len(ledger.once(about, lambda: said(run_part(part, seed, range(cases))).record())["faults"])


if __name__ == "__main__":
    main()
