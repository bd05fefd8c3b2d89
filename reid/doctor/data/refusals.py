"""What training and evaluation would refuse about these labels, by the checks that the verbs use."""

from __future__ import annotations

from collections.abc import Sequence

from reid.config import Config
from reid.data.shards.shard_set import Identity
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding, fault_and_remedy
from reid.errors import ConfigError
from reid.evaluate.plan import choose_evaluation
from reid.evaluate.protocols.choice import ProtocolChoice
from reid.evaluate.protocols.items import SampleLabels
from reid.runs.identities import LEAST
from reid.train.validation.checks import held_out_identities, validation_of

_LABEL = "for own folders: data.reader.camera_pattern, or the manifest's camid column"


def chosen_protocol(
    config: Config, chosen: ProtocolChoice, entries: Sequence[ExaminedSample]
) -> list[Finding]:
    """Why `auto` chose the protocol of the evaluation, and whether any query has a right answer under it."""
    if not entries:
        return []
    found = []
    if chosen.note and any(e.sample.labels.camid is not None for e in entries):  # else told as no-cameras
        found.append(Finding("info", "protocol-by-labels", chosen.note, entries[0].name, _LABEL, 1))
    try:
        choose_evaluation(config, [SampleLabels.of(e.sample) for e in entries])
    except ConfigError as error:
        found.append(_refusal("evaluation-refused", error, entries[0]))
    return found


def validation(config: Config, entries: Sequence[ExaminedSample]) -> list[Finding]:
    """Whether the validation identities of training can be found, and who they are where that is unusual."""
    train, own = _identities(entries, "train"), _identities(entries, "val")
    if not train:
        return []  # told as an empty split
    split, settings = "val" if own else "train", config.train.val
    rows = [e for e in entries if e.split == split]
    try:
        held_out, notes = held_out_identities(settings, config.seed, train, own)
        wanted = set(held_out)
        mine = [e for e in rows if e.identity in wanted]
        if mine:
            validation_of(settings, [SampleLabels.of(e.sample) for e in mine])
    except ConfigError as error:
        return [_refusal("validation-refused", error, rows[0])]
    return [Finding("info", "few-to-validate", n, None, "add identities", len(held_out)) for n in notes]


def too_few_to_validate(splits_and_identities: Sequence[tuple[str, Identity]]) -> bool:
    """Whether a fraction of the training identities could not be held out, whatever it is."""
    train = {identity for split, identity in splits_and_identities if split == "train"}
    own = any(split == "val" for split, _ in splits_and_identities)
    return bool(train) and not own and len(train) < 2 * LEAST


def _identities(entries: Sequence[ExaminedSample], split: str) -> list[Identity]:
    return sorted({e.identity for e in entries if e.split == split})


def _refusal(code: str, error: ConfigError, first: ExaminedSample) -> Finding:
    text, remedy = fault_and_remedy(error)
    return Finding("error", code, text, first.name, remedy, 1)
