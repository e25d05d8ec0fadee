"""Many runs of one comparison: seeds by their numbers."""

import pytest

from kuttax.commands.options.seeds import Seeds


@pytest.mark.parametrize(
    ("word", "seeds"),
    [("3", (0, 1, 2)), ("3,5,8", (3, 5, 8)), ("8,3", (8, 3)), ("3,", (3,)), ("0,", (0,)), ("3,3", (3,))],
)
def test_seeds_are_a_count_or_a_list(word, seeds):
    assert Seeds.read(word) == seeds
    assert Seeds.read(str(Seeds.read(word))) == seeds
