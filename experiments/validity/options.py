"""The options that the scripts share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .study import Study, cifar10, mnist, spheres

HERE = Path(__file__).parent
STUDIES = ("spheres", "mnist", "cifar10")


def parser(description: str | None, *, studies: Sequence[str] = STUDIES) -> argparse.ArgumentParser:
    """A parser with the options for where the records go, and for which study they are."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if studies:
        made.add_argument("study", choices=studies)
        made.add_argument("--data-dir", type=Path, help="of the images; without it they are downloaded")
        made.add_argument("--seeds", type=int, nargs="+", help="default: all of the study")
    made.add_argument("--out", type=Path, default=HERE, help="where records and runs go")
    made.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    return made


def study_of(given: argparse.Namespace) -> Study:
    """The study that was asked for."""
    of_images = {"mnist": mnist, "cifar10": cifar10}
    return spheres(given.smoke) if given.study == "spheres" else of_images[given.study](given.data_dir, given.smoke)


def seeds_of(given: argparse.Namespace, study: Study) -> list[int]:
    """The seeds that were asked for, or all."""
    return list(range(study.seeds)) if given.seeds is None else given.seeds
