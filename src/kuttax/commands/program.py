"""CommandLine: a program with several commands, such as kuttax or the benchmarks."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..errors import UserError
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
        commands: Name -> command.
        version: The output of `--version`; None if there is no such option.
        stopped: The text after Ctrl-C.
        failures: Exceptions that mean a failure of the work, in addition to those in `ending`.
    """

    name: str
    call: str
    usage: str
    commands: Mapping[str, Command]
    version: str | None = None
    stopped: str = "stopped"
    failures: tuple[type[Exception], ...] = ()

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """The entry point; `kuttax.commands.ending` says how it ends.

        Args:
            arguments: By default those of the process.
        """
        argv = list(sys.argv[1:] if arguments is None else arguments)
        ending.run(lambda: self._run(argv), program=self.name, stopped=self.stopped, failures=self.failures)

    def _run(self, argv: list[str]) -> int | None:
        match argv:
            case [] | ["help"] | ["-h" | "--help", *_]:
                print(self.usage)
            case ["--version"] if self.version is not None:
                print(f"{self.name} {self.version}")
            case [name, *rest] if name in self.commands:
                return self.commands[name](rest)
            case _:
                known = ", ".join(self.commands)
                raise UserError(f"unknown command {argv[0]!r}; known: {known} (see {self.call} --help)")
        return None


def asks_help(words: Sequence[str]) -> bool:
    """Whether the words ask for the help of a command before any other word."""
    return words[:1] in (["-h"], ["--help"])


def leading(words: Sequence[str]) -> list[str]:
    """The words before the first option: the subject of a command."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first])
