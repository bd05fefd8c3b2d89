"""What is measured, indexed and validated: gallery, query subsets, protocol, validation identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reid.config import AUTO_PROTOCOL, ValConfig
from reid.config.typed import Section
from reid.data.shards.shard_set import Identity
from reid.doctor.configuration.setting import Setting
from reid.doctor.finding import fault_and_remedy
from reid.errors import ConfigError
from reid.evaluate.evaluator import select_items
from reid.evaluate.protocols.choice import choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.support import check_support, has_match
from reid.modality import Modality, Subset, canonical, subset_name
from reid.train.validation.checks import held_out_identities, validation_of

CAPTIONS_FIND_THEIR_PHOTO = "text_to_image"
"""The protocol under which a caption may find the photo that it describes."""
_HELD_OUT = ((40, 10), (12, 4), (0, 2))
"""(training identities, identities to hold out of so many or more): below ten, numbers are rough."""
_LEAST = 6
"""Training identities below which none is held out."""
_SHARE = 0.1


@dataclass(frozen=True)
class Measurable:
    """What can be measured in the test split; `problem` says why nothing can."""

    settings: list[Setting]
    gallery: Modality | None
    problem: str | None = None


def measured(protocol: str | Section, labels: Sequence[SampleLabels], modalities: Subset) -> Measurable:
    """The gallery and the query subsets that have right answers in it.

    Args:
        protocol: the protocol that the data set is known for, or "auto".
        labels: the tested captures.
        modalities: those that the model knows.
    """
    if not labels:
        return Measurable([], None, "the test split is empty")
    problem = None
    for name in (protocol, *([CAPTIONS_FIND_THEIR_PHOTO] if protocol == AUTO_PROTOCOL else [])):
        chosen = choose_protocol(name, labels)
        gallery = _gallery(chosen.protocol, labels, modalities)
        if gallery is None:
            problem = problem or "no picture of the test split can be a gallery item"
            continue
        asked = _asked(chosen.protocol, labels, modalities, gallery)
        if asked:
            return Measurable(_settings(name, gallery, asked, chosen.note), gallery)
        try:
            check_support(chosen, labels, what="the test split")
        except ConfigError as error:
            problem = problem or fault_and_remedy(error)[0].rstrip(".")
    gallery = _gallery(choose_protocol(protocol, labels).protocol, labels, modalities)
    index = [Setting("index.subsets", [gallery.value], "what is searched")] if gallery else []
    return Measurable(index, gallery, problem or "no query has a right answer")


def _settings(
    protocol: str | Section, gallery: Modality, asked: Sequence[Subset], note: str | None
) -> list[Setting]:
    how = (note or "").partition(": ")[0]
    why = {
        AUTO_PROTOCOL: f"cross_camera where an identity was seen by two cameras, else roles{_aside(how)}",
        CAPTIONS_FIND_THEIR_PHOTO: "an identity has one photo: its own sentence is to find it",
    }
    return [
        Setting("evaluate.protocol", _plain(protocol), why.get(str(protocol), "the data set's own")),
        Setting("evaluate.gallery", gallery.value, "most items can be found by this; others ask for it"),
        Setting("evaluate.subsets", [subset_name(s) for s in asked], "queries with a right answer there"),
        Setting("index.subsets", [gallery.value], "what `search` and `serve` look through"),
    ]


def _aside(note: str) -> str:
    return f" (here: {note})" if note else ""


def _plain(protocol: str | Section) -> object:
    return protocol if isinstance(protocol, str) else protocol.model_dump(mode="json", exclude_none=True)


def _gallery(protocol: Protocol, labels: Sequence[SampleLabels], modalities: Subset) -> Modality | None:
    """The photo, or another visual modality that more than twice as many items have."""
    counts = {m: len(protocol.gallery(labels, (m,)).items) for m in modalities if m.is_visual}
    most = max(counts.values(), default=0)
    return next((m for m, count in counts.items() if count and count * 2 >= most), None)


def _asked(
    protocol: Protocol, labels: Sequence[SampleLabels], modalities: Subset, gallery: Modality
) -> list[Subset]:
    """Single modalities, all cameras together, and all together, as far as they have a right answer."""
    visual = canonical(m for m in modalities if m.is_visual)
    wanted = [*((m,) for m in modalities), *([visual] if len(visual) > 1 else [])]
    if Modality.TEXT in modalities and (gallery, Modality.TEXT) not in wanted:
        wanted.append(canonical([gallery, Modality.TEXT]))
    if protocol.config.asked == "to_rgb":  # a picture of the gallery would find itself
        wanted = [s for s in wanted if gallery not in s]
    return [s for s in wanted if _has_answers(protocol, labels, Pairing(s, (gallery,), s, (gallery,)))]


def _has_answers(protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing) -> bool:
    queries, items = select_items(protocol, labels, pairing)
    return bool(queries.items and items.items) and has_match(protocol, labels, [pairing])


def validation_settings(
    train: Sequence[SampleLabels], own: Sequence[SampleLabels], protocol: str | Section, seed: int
) -> tuple[list[Setting], Sequence[Identity]]:
    """How much of the training identities validates, and which; none where that has no right answers.

    Args:
        train: captures of the split train.
        own: captures of the split val, if the data set has one: they validate then.
        protocol: the evaluation's protocol.
        seed: the configuration's seed, which draws them.
    """
    name = protocol if isinstance(protocol, str) else AUTO_PROTOCOL
    identities = sorted({(row.dataset, row.pid) for row in train})
    if own:
        validation_of(ValConfig(protocol=name), own)
        return [Setting("train.val.fraction", 0.0, "the split val validates"), *_named(name)], []
    count = len(identities)
    if count < _LEAST:
        return [
            Setting("train.val.fraction", 0.0, f"{count} training identities: too few to hold out any")
        ], []
    wanted = max(next(held for least, held in _HELD_OUT if count >= least), round(_SHARE * count))
    problem = ""
    for held in (wanted, 2 * wanted, 3 * wanted):
        settings = ValConfig(fraction=round(held / count, 3), protocol=name)
        if held > count // 2:
            break
        try:
            chosen, _ = held_out_identities(settings, seed, identities, [])
            who = set(chosen)
            validation_of(settings, [row for row in train if (row.dataset, row.pid) in who])
        except ConfigError as error:
            problem = problem or fault_and_remedy(error)[0].rstrip(".")
            continue
        why = f"{len(chosen)} of {count} training identities choose the best epoch and calibrate scores"
        return [Setting("train.val.fraction", settings.fraction, why), *_named(name)], chosen
    return [Setting("train.val.fraction", 0.0, f"no validation: {problem or 'too few identities'}")], []


def _named(protocol: str) -> list[Setting]:
    same = "as the evaluation's"
    return [] if protocol == AUTO_PROTOCOL else [Setting("train.val.protocol", protocol, same)]
