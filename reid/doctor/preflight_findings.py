"""What each verb would refuse of a configuration, by the function that the verbs themselves call."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reid.config import Config
from reid.data.shards.schema import Sample
from reid.doctor.finding import Finding, Level, fault_and_remedy
from reid.errors import AnyReIDError
from reid.evaluate.protocols.items import SampleLabels
from reid.preflight import ListedData, Verb, preflight

_BESIDE: tuple[Verb, ...] = ("tune", "ablate")
"""Verbs that a configuration may have from its preset, and that its user need not mean."""


def preflight_findings(
    config: Config, samples: Sequence[Sample], where: str, told: Collection[Finding] = ()
) -> list[Finding]:
    """Refusals as errors and what verbs would say as information; nothing twice.

    Args:
        config: the resolved configuration.
        samples: usable captures as they are listed; a configuration with `data.shards` reads its own set.
        where: what messages call the data.
        told: findings that are known already.
    """
    found: list[Finding] = []
    known = {f.text for f in told}
    for verb in _verbs(config):
        for finding in _findings(config, verb, samples, where):
            if finding.text not in known:
                known.add(finding.text)
                found.append(finding)
    return found


def _verbs(config: Config) -> list[Verb]:
    """The verbs that the configuration is meant for: a search or an ablation only where it says so."""
    verbs: list[Verb] = ["build", "train", "evaluate", "index"]
    if config.tune.space:
        verbs.append("tune")
    if config.ablate.ladder or config.ablate.rows:
        verbs.append("ablate")
    return verbs


def _findings(config: Config, verb: Verb, samples: Sequence[Sample], where: str) -> list[Finding]:
    try:
        data = None
        if config.data.shards is None:
            data = ListedData.planned(where, [SampleLabels.of(s) for s in samples], config)
        return [_note(verb, line) for line in preflight(config, verb, data)]
    except AnyReIDError as error:
        text, remedy = fault_and_remedy(error)
        level: Level = "warning" if verb in _BESIDE else "error"
        return [Finding(level, f"{verb}-refused", text, None, remedy or "correct it", 1)]


def _note(verb: Verb, line: str) -> Finding:
    return Finding("info", f"{verb}-note", line, None, "none, if that is meant", 1)
