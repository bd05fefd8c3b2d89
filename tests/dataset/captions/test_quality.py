"""Which captions are bad and why, and what the policy makes of the generated ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reid.config.sections.captions import CaptionPolicy
from reid.config.typed import check
from reid.data.batches.tokens import tokenize
from reid.data.shards.schema import Caption, SampleAttribute
from reid.dataset.captions.quality import (
    COUNTED,
    CaptionTally,
    CaptionVerdict,
    apply_policy,
    contradictions,
    judge_caption,
    judge_captions,
    token_lengths,
)
from reid.errors import ConfigError

POLICY = CaptionPolicy(min_confidence=0.5)


def codes(text: str, confidence: float | None = None, *attributes: SampleAttribute) -> list[str]:
    return [r.code for r in judge_caption(Caption(text, confidence), attributes, POLICY).reasons]


@pytest.mark.parametrize(
    "text",
    [
        "A person in a red hat.",
        "café, naïve – “quoted” for 5 €",
        "one\nline\tmore",
        "»groß«",  # two letters that happen to be UTF-8 bytes of another script
        "日本語の服",
        "glasses: none",
        "costs $5, 100% cotton, 3 < 4",
    ],
)
def test_ordinary_texts_are_fit(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" … !", "empty"),
        ("a cafÃ© bag", "encoding"),
        ("itâ€™s red", "encoding"),
        ("ä¸\xadæ–‡", "encoding"),
        ("lost \ufffd letter", "encoding"),
        ("zero\u200bwidth", "non-printing"),
        ("a\x07bell", "non-printing"),
        ("\ufeffmark", "non-printing"),
        ("private \ue000", "non-printing"),
        ("a {upper_color} coat", "slot"),
        ("a [upper color] coat", "slot"),
        ("a <color> coat", "slot"),
        ("The shoes are UNKNOWN.", "unknown"),
        ("The hair cannot be determined", "unknown"),
        ("The bag is not visible", "unknown"),
        ("I'm sorry, I see nothing", "refusal"),
        ("As an AI, I describe", "refusal"),
    ],
)
def test_each_fault_is_told_by_its_code(text: str, code: str) -> None:
    assert code in codes(text)


def test_length_counts_tokens_with_start_and_end() -> None:
    for text in ("", "a red hat", "!!! hat !", "word " * 75):
        ids = tokenize([text], 300)[0]
        assert token_lengths([text]) == [int(ids.argmax()) + 1]
    assert token_lengths(["word " * 75, "word " * 76]) == [77, 78]
    assert codes("word " * 75) == [] and codes("word " * 76) == ["long"]
    assert token_lengths(["word " * 2000, "a \ud800"]) == [COUNTED, token_lengths(["a ?"])[0]]


def test_confidence_under_the_least_is_unsure_and_none_passes() -> None:
    assert codes("a hat", 0.49) == ["unsure"]
    assert codes("a hat", 0.5) == codes("a hat", None) == []


def test_sure_sources_that_differ_contradict() -> None:
    def seen(source: str, value: str, confidence: float | None, name: str = "upper_color") -> SampleAttribute:
        return SampleAttribute(name, value, confidence, source)

    rgb = seen("RGB", "red", 0.9)
    assert codes("a red coat", None, rgb, seen("NI", "blue", 0.8)) == ["contradiction"]
    (told,) = contradictions([rgb, seen("NI", "blue", 0.8), seen("TI", "blue", 0.7)], POLICY)
    assert told == "upper_color is red (RGB), blue (NI+TI)"
    for other in (
        seen("NI", "blue", 0.69),  # not sure
        seen("NI", "Red ", 0.9),  # the same word
        seen("NI", "unknown", 1.0),
        seen("RGB", "blue", 0.9),  # two values by one source: a list
    ):
        assert contradictions([rgb, other], POLICY) == []
    light = [seen("RGB", "dark", 1, "illumination"), seen("TI", "bright", 1, "illumination")]
    assert contradictions(light, POLICY) == []
    assert contradictions([seen("RGB", "gray", 1), seen("ALL", "grey", 1)], POLICY) == []


def test_many_are_judged_like_one_by_one() -> None:
    texts = ["a hat", "", "unknown", "word " * 80]
    captions = [Caption(t) for t in texts]
    assert judge_captions(captions, [()] * 4, POLICY) == [judge_caption(c, (), POLICY) for c in captions]


def test_some_unknown_may_be_allowed() -> None:
    two = Caption("The hat is unknown and the bag is not visible.")
    assert not judge_caption(two, (), CaptionPolicy(max_unknown=1)).ok
    assert judge_caption(two, (), CaptionPolicy(max_unknown=2)).ok


def look(_: int, text: str) -> CaptionVerdict:
    return judge_caption(Caption(text), (), POLICY)


def never(indices: Sequence[int], attempt: int) -> list[str]:
    raise AssertionError("made again")


def test_keep_leaves_all_and_counts_the_bad() -> None:
    made = ["a hat", "unknown"]
    values, verdicts, tally = apply_policy(made, never, look, CaptionPolicy(on_bad="keep"))
    assert values == made
    assert [v.ok for v in verdicts] == [True, False]
    assert tally == CaptionTally(made=2, good=1, kept=1, reasons=tally.reasons)
    assert tally.reasons == {"unknown": 1}


def test_drop_takes_the_bad_away() -> None:
    values, _, tally = apply_policy(["a hat", "unknown"], never, look, CaptionPolicy(on_bad="drop"))
    assert values == ["a hat", None]
    assert (tally.good, tally.dropped) == (1, 1)


def test_regenerate_makes_only_the_bad_again_and_drops_what_stays_bad() -> None:
    asked = []

    def remake(indices: Sequence[int], attempt: int) -> list[str]:
        asked.append((list(indices), attempt))
        return ["a coat" if i == 1 else "still unknown" for i in indices]

    policy = CaptionPolicy(on_bad="regenerate", tries=3)
    values, verdicts, tally = apply_policy(["a hat", "unknown", "n/a?"], remake, look, policy)
    assert asked == [([1, 2], 1), ([2], 2), ([2], 3)]
    assert values == ["a hat", "a coat", None]
    assert [v.ok for v in verdicts] == [True, True, False]
    assert (tally.made, tally.good, tally.dropped, tally.again) == (3, 2, 1, 4)
    both = tally + tally
    assert (both.made, both.again, both.reasons["unknown"]) == (6, 8, 2 * tally.reasons["unknown"])
    counts = both.counts()
    assert counts["dropped"] == 2 and counts["because unknown"] == both.reasons["unknown"]
    assert "kept" not in counts, "zeros are left out"


def test_a_policy_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"captions\.on_bad"):
        check(CaptionPolicy, {"on_bad": "mend"}, "captions")
