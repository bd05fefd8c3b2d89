"""The commands that take a data set from its folder to a search, in order."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from reid.config import Config
from reid.doctor.configuration.suggestion import Suggestion
from reid.doctor.data.source import ExaminedSample
from reid.evaluate.protocols.choice import sides_of
from reid.evaluate.protocols.items import SampleLabels
from reid.modality import PHOTO, Modality

_LONGEST = 200
"""Characters of a sentence that is shown as a query."""


def commands(file: str, suggestion: Suggestion, entries: Sequence[ExaminedSample]) -> list[str]:
    """What to type, in order, for the configuration in `file`.

    Steps that these data do not allow are left out; the suggestion says why.
    """
    config = suggestion.config

    def verb(name: str, *more: str) -> str:
        return shlex.join(["python", "-m", f"jobs.{name}", "--config", file, *more])

    steps = [] if config.data.shards else [verb("build")]
    if suggestion.untrainable:
        return steps
    steps.append(verb("train"))
    if suggestion.unmeasurable is None:
        steps.append(verb("evaluate"))
    if not any(e.split == config.index.split for e in entries):
        return steps
    return [*steps, verb("index"), *(verb("search", *q) for q in _queries(config, entries)), verb("serve")]


def _queries(config: Config, entries: Sequence[ExaminedSample]) -> list[list[str]]:
    """Options of `search`: a tested picture, and a sentence, if there are any, of somebody in the gallery."""
    tested = [e for e in entries if e.split == config.index.split]
    labels = [SampleLabels.of(e.sample) for e in tested]
    protocol = sides_of(config.evaluate.protocol)
    kinds = [m for m in config.data.modalities if m.value in (config.index.subsets or (PHOTO.value,))]
    found = {item.parts[m].sample_id for m in kinds for item in protocol.gallery(labels, (m,)).items}
    known = Counter(e.identity for e in tested if e.name in found)
    asked = []
    for modality in config.data.modalities:
        queries = [q.parts[modality].sample_id for q in protocol.queries(labels, (modality,)).items]
        own = set(queries)
        asking = [e for e in tested if e.name in own and known[e.identity]]
        # Rather somebody who has another capture in the gallery than the one that asks.
        fitting = [e for e in asking if known[e.identity] > (e.name in found)] or asking
        if modality is Modality.TEXT:
            sentences = [c.text for e in fitting for c in e.sample.captions if len(c.text) <= _LONGEST]
            asked += [["--text", text] for text in sentences[:1]]
        else:
            files = [uri for e in fitting if (uri := _picture(e, modality))]
            asked += [[f"--{modality.value}", uri] for uri in files[:1]]
    pictures = [q for q in asked if q[0] != "--text"][:1]
    return pictures + [q for q in asked if q[0] == "--text"]


def _picture(entry: ExaminedSample, modality: Modality) -> str | None:
    """The file of one modality alone; a strip of several is none."""
    mine = [uri for uri, m in entry.files.items() if m is modality]
    alone = len(entry.files) == len(entry.sample.images)
    return mine[0] if mine and alone else None
