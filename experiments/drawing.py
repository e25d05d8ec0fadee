"""The command line of a module that draws the tables and pictures of an experiment from its records."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from kuttax.commands.program import ending


def command(draw: Callable[[Path], None], about: str | None, folder: Path) -> None:
    """Run `draw` on the folder that --out names.

    Args:
        draw: Writes tables and pictures beside the records in a folder.
        about: The help text: the module's docstring.
        folder: The folder without --out.
    """

    def main(arguments: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--out", type=Path, default=folder, help="folder of the records")
        draw(parser.parse_args(arguments).out)

    ending.run(main, program="experiments")
