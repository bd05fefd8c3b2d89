"""Captions: their length in tokens, and which may be alike."""

from __future__ import annotations

from dataclasses import replace

from reid.data.shards.schema import Caption
from reid.doctor.data.captions import check_captions
from reid.doctor.data.source import ExaminedSample
from tests.support.sets.examined_samples import RGB, TEXT, entry
from tests.support.sets.healthy import by_code


def captioned(*texts: str) -> list[ExaminedSample]:
    return [
        ExaminedSample(replace(entry(pid, 0).sample, captions=(Caption(text),)))
        for pid, text in enumerate(texts)
    ]


def test_the_limit_of_tokens_is_exact() -> None:
    fits, cut = "coat " * 75, "coat " * 76  # and a start and an end token
    assert check_captions(captioned(fits)) == []
    assert by_code(check_captions(captioned(fits, cut))) == {"long-caption": 1}


def test_captions_of_one_identity_may_be_alike() -> None:
    one = entry(1, 0, (RGB, TEXT)).sample
    same = [ExaminedSample(replace(one, captions=(Caption("A coat."),))) for _ in range(3)]
    assert check_captions(same) == []
