"""Varied: an option of a sweep, and the values that it takes in turn."""

import shlex
from typing import NamedTuple, Self

_FLAG = {"yes": True, "no": False}


class Varied(NamedTuple):
    """An option and its values, as they stand on the command line.

    Attributes:
        name: The option without the dashes before it.
        values: Its values in their order, each once. A value may be several words.
    """

    name: str
    values: tuple[str, ...]

    @classmethod
    def read(cls, word: str) -> Self:
        """The option and the values of a word such as `lr=0.001,0.01`.

        Raises:
            ValueError: There is no option, or no value, or a quotation mark is open.
        """
        name, _, listed = word.removeprefix("--").partition("=")
        values = tuple(dict.fromkeys(part.strip() for part in listed.split(",")))
        if not name or not all(map(shlex.split, values)):
            raise ValueError(word)
        return cls(name.replace("_", "-"), values)

    def words(self, value: str, usual: bool | None = None) -> list[str]:
        """The words that give the option one of its values.

        Args:
            value: One of `values`: it may have other options behind it.
            usual: Of a flag, what it is without the option; None for any other option.
        """
        first, *rest = shlex.split(value)
        if usual is None or first not in _FLAG:
            return [f"--{self.name}", first, *rest]
        flag = f"--no-{self.name}" if usual else f"--{self.name}"
        return rest if _FLAG[first] == usual else [flag, *rest]
