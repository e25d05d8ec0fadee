"""Shard: a part of many runs, for job arrays."""

import re
from typing import NamedTuple, Self, TypeVar

from ...options.bounds import OutOfBounds, at_least

T = TypeVar("T")
_COUNT = at_least(1, most=1_000_000)


class Shard(NamedTuple):
    """The runs number `index`, `index + count`, `index + 2 count`, ..., counted from 1."""

    index: int
    count: int

    @classmethod
    def read(cls, word: str) -> Self:
        """The shard that a word such as `2/20` names.

        Raises:
            ValueError: The word names none.
            OutOfBounds: There is no shard of this number.
        """
        if not re.fullmatch(r"-?\d+/-?\d+", word):
            raise ValueError(word)
        index, count = map(int, word.split("/"))
        if not _COUNT.holds(count):
            raise OutOfBounds("shard", f"must have a number of shards that is {_COUNT.wanted(count)[3:]}, got {word}")
        if not 1 <= index <= count:
            raise OutOfBounds("shard", f"must be one of 1/{count} to {count}/{count}, got {word}")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, runs: list[T]) -> list[T]:
        """Its part of all runs."""
        return runs[self.index - 1 :: self.count]
