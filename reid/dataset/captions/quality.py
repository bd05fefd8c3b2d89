"""Is a caption fit to train with? Length, encoding, what it does not know, confidence, contradictions.

Pure functions for a build's caption stage: `judge_caption` checks one caption, `apply_policy` handles the
generated captions of a batch.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from reid.config.sections.captions import CaptionPolicy
from reid.data.batches.tokens import tokenize
from reid.data.shards.schema import SampleAttribute

Code = Literal[
    "empty", "encoding", "non-printing", "slot", "unknown", "refusal", "long", "unsure", "contradiction"
]
COUNTED = 512
"""Longer captions count as this many tokens."""
_CHUNK = 256

_UNKNOWN = re.compile(
    r"\b(?:unknown|undetermined|unidentifi(?:ed|able)|unspecified|indeterminate|indiscernible|n/a"
    r"|not (?:sure|clear|certain|visible|known|specified|available|applicable|determined|discernible)"
    r"|(?:cannot|can't|can not|could not|couldn't|unable to) (?:be )?"
    r"(?:determined?|seen?|tell|told|identif(?:y|ied)|discern(?:ed)?)|hard to (?:tell|say|see))\b",
    re.IGNORECASE,
)
_UNKNOWN_VALUES = frozenset(("", "?", "-", "n/a", "na", "null", "nan", "undefined"))
_REFUSAL = re.compile(
    r"\b(?:as an? (?:ai|language model)|i(?:'m| am) (?:sorry|unable)|i can(?:not|'t| not) (?:help|assist|see|"
    r"identify|provide|describe)|sorry,? (?:but )?i)\b",
    re.IGNORECASE,
)
_SLOT = re.compile(
    r"\{[\w .-]*\}|\[(?:[a-z]+[_ ]?)+\]|</?[a-z]\w*(?:[_ ]\w+)*>|\$\{\w+\}|%s\b", re.IGNORECASE
)
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]{2,}")
_PLAUSIBLE = re.compile(r"[\u00a0-\u024f\u2000-\u20cf\u2122\ufeff\u3000-\u9fff\uac00-\ud7af\u0370-\u04ff]+")


class JudgedText(Protocol):
    """A caption, stored or just made."""

    @property
    def text(self) -> str: ...

    @property
    def confidence(self) -> float | None: ...


@dataclass(frozen=True)
class CaptionFault:
    """One problem of a caption."""

    code: Code
    text: str


@dataclass(frozen=True)
class CaptionVerdict:
    """Whether a caption can be used, and all its problems."""

    reasons: tuple[CaptionFault, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.reasons


def judge_caption(
    caption: JudgedText, attributes: Sequence[SampleAttribute], policy: CaptionPolicy
) -> CaptionVerdict:
    """Check a caption of a sample that has these attributes.

    A contradiction of the attributes counts against every caption of the sample.
    """
    return judge_captions([caption], [attributes], policy)[0]


def judge_captions(
    captions: Sequence[JudgedText],
    attributes: Sequence[Sequence[SampleAttribute]],
    policy: CaptionPolicy,
    lengths: Sequence[int] | None = None,
) -> list[CaptionVerdict]:
    """`judge_caption` for many captions; `lengths` are their `token_lengths` if known."""
    if lengths is None:
        lengths = token_lengths([c.text for c in captions])
    return [
        CaptionVerdict(tuple(_reasons(c, n, a, policy)))
        for c, n, a in zip(captions, lengths, attributes, strict=True)
    ]


def _reasons(
    caption: JudgedText, tokens: int, attributes: Sequence[SampleAttribute], policy: CaptionPolicy
) -> Iterable[CaptionFault]:
    text = caption.text
    if not any(c.isalnum() for c in text):
        yield CaptionFault("empty", f"the caption says nothing ({text!r})")
        return
    if problem := encoding_problem(text):
        yield CaptionFault("encoding", problem)
    if hidden := non_printing(text):
        yield CaptionFault("non-printing", f"characters that do not print: {', '.join(hidden)}")
    if slots := _SLOT.findall(text):
        yield CaptionFault("slot", f"unfilled, or markup: {', '.join(slots)}")
    if refusal := _REFUSAL.search(text):
        yield CaptionFault("refusal", f"an answer about the answerer: {refusal[0]!r}")
    unknown = unknown_phrases(text)
    if len(unknown) > policy.max_unknown:
        yield CaptionFault("unknown", f"does not know: {', '.join(unknown)}")
    if tokens > policy.max_tokens:
        count = f"{COUNTED} or more" if tokens >= COUNTED else str(tokens)
        yield CaptionFault("long", f"{count} tokens, {policy.max_tokens} fit")
    if caption.confidence is not None and caption.confidence < policy.min_confidence:
        yield CaptionFault(
            "unsure", f"confidence {caption.confidence:.2f} is under {policy.min_confidence:g}"
        )
    for values_by_name in contradictions(attributes, policy):
        yield CaptionFault("contradiction", values_by_name)


def token_lengths(texts: Sequence[str]) -> list[int]:
    """BPE tokens of each text with start and end, at most COUNTED."""
    lengths: list[int] = []
    for start in range(0, len(texts), _CHUNK):
        chunk = list(texts[start : start + _CHUNK])
        # A token covers at least one byte that is no space, so the table need not be wider than the longest.
        widest = max(len("".join(t.split()).encode("utf-8", "replace")) for t in chunk)
        ids = tokenize([_clean(t) for t in chunk], min(4 * widest + 2, COUNTED))  # mended text may grow
        lengths += (ids.argmax(dim=1) + 1).tolist()  # the end token has the largest id
    return lengths


def _clean(text: str) -> str:
    """Without lone surrogates, which no UTF-8 tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def encoding_problem(text: str) -> str | None:
    """A message if a text was decoded with the wrong encoding, else None."""
    if "\ufffd" in text:
        return "holds the replacement character \ufffd: letters were lost when it was read"
    for run in _FOREIGN_RUN.findall(text):
        mended = _undo(run)
        if mended and mended != run and _PLAUSIBLE.fullmatch(mended):
            return f"{run!r} was {mended!r} in UTF-8, read as Latin letters; mend the file's encoding"
    return None


def _undo(run: str) -> str | None:
    """UTF-8 bytes that were read as cp1252 (or Latin-1, where that has no letter), as what they were."""
    try:
        return b"".join(_byte(c) for c in run).decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return None


def _byte(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")


def non_printing(text: str) -> list[str]:
    """Names of invisible characters in a text: controls, zero-width and private ones, each once."""
    bad = [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cn", "Co", "Cs"} and c not in "\t\n\r"]
    return [f"U+{ord(c):04X}" for c in dict.fromkeys(bad)]


def unknown_phrases(text: str) -> list[str]:
    """Phrases for something unknown, in lower case and in order."""
    return [found[0].lower() for found in _UNKNOWN.finditer(text)]


def is_unknown(value: str) -> bool:
    """Whether an attribute's value means "unknown"."""
    return value.strip().lower() in _UNKNOWN_VALUES or bool(_UNKNOWN.search(value))


def contradictions(attributes: Sequence[SampleAttribute], policy: CaptionPolicy) -> list[str]:
    """Attributes for which two sources name different values, both at least `sure`; one sentence each.

    A source without a confidence counts as sure.
    """
    values_by_name: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for a in attributes:
        sure = a.confidence is None or a.confidence >= policy.sure
        if sure and a.name not in policy.may_differ and not is_unknown(a.value):
            values_by_name[a.name][_spelling(a.value)].append(a.source or "?")
    found = []
    for name, values in values_by_name.items():
        sources = {s for named in values.values() for s in named}
        if len(values) > 1 and len(sources) > 1:
            listed = ", ".join(f"{v} ({'+'.join(dict.fromkeys(s))})" for v, s in values.items())
            found.append(f"{name} is {listed}")
    return found


def _spelling(value: str) -> str:
    return re.sub(r"[\s_-]+", " ", value.strip().casefold()).replace("gray", "grey")


@dataclass
class CaptionTally:
    """Counts of kept, dropped and regenerated captions; tallies of several batches add up."""

    made: int = 0
    good: int = 0
    kept: int = 0
    dropped: int = 0
    again: int = 0
    """Makings after the first."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How often each reason was found, in every making."""

    def __add__(self, other: CaptionTally) -> CaptionTally:
        return CaptionTally(
            self.made + other.made,
            self.good + other.good,
            self.kept + other.kept,
            self.dropped + other.dropped,
            self.again + other.again,
            self.reasons + other.reasons,
        )

    def counts(self) -> Counter[str]:
        """One flat count, without zeros: made, good, kept, dropped, again, "because <reason>"."""
        own = {name: value for name, value in vars(self).items() if name != "reasons"}
        because = {f"because {reason}": n for reason, n in self.reasons.items()}
        return +Counter({**own, **because})


T = TypeVar("T")


def apply_policy(
    made: Sequence[T],
    remake: Callable[[Sequence[int], int], Sequence[T]],
    look: Callable[[int, T], CaptionVerdict],
    policy: CaptionPolicy,
) -> tuple[list[T | None], list[CaptionVerdict], CaptionTally]:
    """Apply the policy to a batch: bad captions are kept, dropped (None), or regenerated, then dropped.

    `remake(indices, attempt)` makes these captions again; attempt 1, 2, … is part of their seed. `look(index,
    value)` judges one. Returns values, their last verdicts, and the tally. A dropped caption does not reject
    its row.
    """
    values: list[T | None] = list(made)
    verdicts = [look(i, value) for i, value in enumerate(made)]
    tally = CaptionTally(made=len(made), reasons=_codes(verdicts))
    bad = [i for i, verdict in enumerate(verdicts) if not verdict.ok]
    attempts = policy.tries if policy.on_bad == "regenerate" else 0
    for attempt in range(1, attempts + 1):
        if not bad:
            break
        again = remake(bad, attempt)
        for i, value in zip(bad, again, strict=True):
            values[i], verdicts[i] = value, look(i, value)
        tally.again += len(bad)
        tally.reasons += _codes([verdicts[i] for i in bad])
        bad = [i for i in bad if not verdicts[i].ok]
    tally.good = len(made) - len(bad)
    if policy.on_bad == "keep":
        tally.kept = len(bad)
    else:
        tally.dropped = len(bad)
        for i in bad:
            values[i] = None
    return values, verdicts, tally


def _codes(verdicts: Iterable[CaptionVerdict]) -> Counter[str]:
    return Counter(reason.code for verdict in verdicts for reason in verdict.reasons)
