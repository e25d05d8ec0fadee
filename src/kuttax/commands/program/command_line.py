"""CommandLine: a program with several commands, such as kuttax or the benchmarks."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ...errors import UserError
from . import ending

Command = Callable[[list[str]], int | None]
"""Takes the words after its name; returns the exit code, None for 0."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A command line: its name, its help, and its commands.

    Attributes:
        name: The start of its lines on standard error.
        call: The words that start it.
        usage: The help of the whole program.
        commands: Name -> a function that imports the command: nothing slow is imported before the command is known.
        version: Gives the output of `--version`; None if there is no such option.
        stopped: The text after Ctrl-C.
        failures: Exceptions that mean a failure of the work, in addition to those in `ending`.
    """

    name: str
    call: str
    usage: str
    commands: Mapping[str, Callable[[], Command]]
    version: Callable[[], str] | None = None
    stopped: str = "stopped"
    failures: tuple[type[Exception], ...] = ()

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """The entry point; `kuttax.commands.program.ending` says how it ends.

        Args:
            arguments: By default those of the process.
        """
        argv = list(sys.argv[1:] if arguments is None else arguments)
        load = self.commands.get(argv[0]) if argv else None
        command = self._without_command if load is None else load()  # here, where Ctrl-C ends the process at once
        words = argv if load is None else argv[1:]
        ending.run(lambda: command(words), program=self.name, stopped=self.stopped, failures=self.failures)

    def _without_command(self, argv: list[str]) -> None:
        """Print the help or the version.

        Raises:
            UserError: Other words are given.
        """
        match argv:
            case [] | ["help"] | ["-h" | "--help", *_]:
                print(self.usage)
            case ["--version"] if self.version is not None:
                print(self.version())
            case _:
                known = ", ".join(self.commands)
                raise UserError(f"unknown command {argv[0]!r}; known: {known} (see {self.call} --help)")


def asks_help(words: Sequence[str]) -> bool:
    """Whether the words ask for the help of a command before any other word."""
    return words[:1] in (["-h"], ["--help"])


def leading(words: Sequence[str]) -> list[str]:
    """The words before the first option: the subject of a command."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first])
