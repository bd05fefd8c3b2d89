"""Statistics of a set's captions: length, confidence, unknown attributes, and shared texts."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reid.config.sections.captions import CaptionPolicy
from reid.data.shards.schema import Caption, Sample
from reid.dataset.captions.quality import COUNTED, is_unknown, judge_captions, token_lengths, unknown_phrases

BINS = 20
STEP = 8
"""Tokens that one bin of the lengths holds."""
_EXAMPLES = 5


@dataclass
class CaptionCensus:
    """Counts captions a batch of samples at a time; keeps 8 bytes and an identity of each distinct text."""

    policy: CaptionPolicy = field(default_factory=CaptionPolicy)
    captions: int = 0
    rows: int = 0
    rows_with: int = 0
    bad: int = 0
    unknown: int = 0
    attributes: int = 0
    unknown_values: int = 0
    without_confidence: int = 0
    tokens: Counter[int] = field(default_factory=Counter)
    confidences: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _owner: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    _shared: dict[bytes, tuple[str, set[tuple[str, int]]]] = field(default_factory=dict)
    _uses: Counter[bytes] = field(default_factory=Counter)

    def add(self, samples: Sequence[Sample]) -> None:
        """Count the captions and attributes of some samples."""
        captioned: list[tuple[Sample, Caption]] = [(s, c) for s in samples for c in s.captions]
        self.rows += len(samples)
        self.rows_with += sum(bool(s.captions) for s in samples)
        self.captions += len(captioned)
        lengths = token_lengths([c.text for _, c in captioned])
        known = [s.labels.attributes for s, _ in captioned]
        verdicts = judge_captions([c for _, c in captioned], known, self.policy, lengths)
        for (sample, caption), verdict, length in zip(captioned, verdicts, lengths, strict=True):
            name = sample.labels.sample_id
            self.bad += not verdict.ok
            self.unknown += bool(unknown_phrases(caption.text))
            self.tokens[length] += 1
            for reason in verdict.reasons:
                self.reasons[reason.code] += 1
                if len(self.examples[reason.code]) < _EXAMPLES:
                    self.examples[reason.code].append(f"{name}: {reason.text}")
            if caption.confidence is None:
                self.without_confidence += 1
            else:
                self.confidences[min(int(caption.confidence * BINS), BINS - 1)] += 1
            self._share(caption.text, sample.identity)
        for sample in samples:
            for attribute in sample.labels.attributes:
                self.attributes += 1
                self.unknown_values += is_unknown(attribute.value)
                counts = self.values[attribute.name]
                if attribute.value in counts or len(counts) < 1000:
                    counts[attribute.value] += 1

    def _share(self, text: str, identity: tuple[str, int]) -> None:
        key = hashlib.blake2b(" ".join(text.casefold().split()).encode("utf-8", "replace"), digest_size=8)
        digest = key.digest()
        self._uses[digest] += 1
        first = self._owner.setdefault(digest, identity)
        if first != identity:
            self._shared.setdefault(digest, (text, {first}))[1].add(identity)

    def to_json(self) -> dict[str, Any]:
        """For programs and pages."""
        shared = sorted(self._shared.values(), key=lambda item: (-len(item[1]), item[0]))
        longest = max(self.tokens, default=0)
        return {
            "captions": self.captions,
            "rows_with_captions": self.rows_with,
            "rows": self.rows,
            "distinct": len(self._owner),
            "bad": self.bad,
            "reasons": dict(self.reasons.most_common()),
            "examples": {code: list(found) for code, found in self.examples.items()},
            "unknown_rate": self.unknown / self.captions if self.captions else None,
            "tokens": {
                "longest": longest if longest < COUNTED else f"{COUNTED} or more",
                "mean": sum(n * k for n, k in self.tokens.items()) / self.captions if self.captions else None,
                "limit": self.policy.max_tokens,
                "over_limit": sum(k for n, k in self.tokens.items() if n > self.policy.max_tokens),
                "histogram": {
                    "edges": [STEP * i for i in range(longest // STEP + 2)] if self.captions else [],
                    "counts": self._lengths(longest) if self.captions else [],
                },
            },
            "confidence": {
                "without": self.without_confidence,
                "histogram": {
                    "edges": [i / BINS for i in range(BINS + 1)],
                    "counts": [self.confidences[i] for i in range(BINS)],
                },
            },
            "shared_by_identities": {
                "texts": len(shared),
                "captions": sum(self._uses[digest] for digest in self._shared),
                "examples": [
                    {"text": text, "identities": [pid for _, pid in sorted(who)[:5]], "count": len(who)}
                    for text, who in shared[:_EXAMPLES]
                ],
            },
            "attributes": {
                "count": self.attributes,
                "unknown_rate": self.unknown_values / self.attributes if self.attributes else None,
                "values": {
                    name: [[value, n] for value, n in counts.most_common(8)]
                    for name, counts in sorted(self.values.items())
                },
            },
        }

    def _lengths(self, longest: int) -> list[int]:
        counts = [0] * (longest // STEP + 1)
        for tokens, number in self.tokens.items():
            counts[tokens // STEP] += number
        return counts
