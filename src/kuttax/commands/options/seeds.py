"""Seeds: the sets of initial weights of many runs, as a count or as a list."""

from typing import Self

from ...options.bounds import OutOfBounds, at_least, between

_COUNT, _SEED = at_least(1, most=100_000), between(0, 2**32 - 1)


class Seeds(tuple[int, ...]):
    """The seeds in the order of their runs, each once."""

    @classmethod
    def first(cls, count: int) -> Self:
        """The seeds 0, 1, ..., count - 1."""
        return cls(range(count))

    @classmethod
    def read(cls, word: str) -> Self:
        """The seeds that a word names: `3` the seeds 0, 1 and 2; `3,5,8` these three; `3,` the seed 3 alone.

        Raises:
            ValueError: The word names none.
            OutOfBounds: A number is too small or too large.
        """
        numbers = [int(part) for part in word.removesuffix(",").split(",")]
        bounds = _SEED if "," in word else _COUNT
        for number in numbers:
            if not bounds.holds(number):
                raise OutOfBounds("seeds", f"must {bounds.wanted(number)}, got {number}")
        return cls(dict.fromkeys(numbers)) if "," in word else cls.first(numbers[0])

    def __str__(self) -> str:
        return str(len(self)) if self == self.first(len(self)) else ",".join(map(str, self)) + "," * (len(self) == 1)
