"""Identities as columns behave like the tuples and dicts that they stand for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reid.data.shards.identity_list import Identity, IdentityList, IdentityMap

SORTED: list[Identity] = [("a", pid) for pid in (0, 3, 2**40)] + [("b", 3)] + [("c", pid) for pid in range(5)]


def shuffled(seed: int) -> list[Identity]:
    return random.Random(seed).sample(SORTED, len(SORTED))


@pytest.mark.parametrize("given", [SORTED, shuffled(1), shuffled(2), [], [("z", 9)]])
def test_a_list_is_the_sequence_that_it_was_made_of(given: list[Identity]) -> None:
    found = IdentityList.of(given)
    assert (len(found), list(found), found == given, found.sorted() == sorted(given)) == (
        len(given), given, True, True,
    )  # fmt: skip
    assert [found[i] for i in range(-len(given), len(given))] == given * 2
    assert found[1:3] == given[1:3]
    assert [found.index(one) for one in given] == list(range(len(given)))


@pytest.mark.parametrize("own", [SORTED, shuffled(3), []])
def test_identities_are_found_among_others_of_other_data_sets(own: list[Identity]) -> None:
    wanted = [("c", 4), ("a", 1), ("0", 0), ("b", 3), ("a", 2**40), ("d", 3), ("b", 2**50)]
    expected = [own.index(one) if one in own else -1 for one in wanted]
    assert IdentityList.of(own).positions(IdentityList.of(wanted)).tolist() == expected
    assert [one in IdentityList.of(own) for one in wanted] == [place >= 0 for place in expected]


def test_what_is_no_identity_is_not_in_a_list() -> None:
    others: list[Any] = ["a", ("a",), 3, None]
    assert not any(one in IdentityList.of(SORTED) for one in others)
    with pytest.raises(ValueError, match="not among"):
        IdentityList.of(SORTED).index(("a", 1))


def test_a_map_is_the_dict_that_it_was_made_of() -> None:
    given = {identity: number for number, identity in enumerate(shuffled(4))}
    found = IdentityMap.of(given)
    assert found == given and list(found) == SORTED
    assert [found[one] for one in given] == list(given.values())
    assert found.get(("a", 1)) is None
    assert found.of_all(IdentityList.of([("a", 1), ("b", 3)])).tolist() == [-1, given["b", 3]]
