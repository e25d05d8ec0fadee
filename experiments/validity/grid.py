"""The grid: models trained with Euler's method at N steps, tested with Euler, midpoint and RK4 at other step sizes.

    python -m experiments.validity.grid spheres
    python -m experiments.validity.grid mnist --data-dir DIR

Appends a record per trained model to STUDY.jsonl and skips what is recorded.
"""

from collections.abc import Sequence

from kuttax.commands.program import ending

from .options import parser, seeds_of, study_of
from .trained import Trained


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, nargs="+", help="numbers of steps; default: the study's ladder")
    given = options.parse_args(arguments)
    study = study_of(given)
    trained = Trained(study, given.out)
    for steps in given.steps or study.ladder:
        for seed in seeds_of(given, study):
            trained.record(steps, seed)


if __name__ == "__main__":
    ending.run(main, program="experiments")
