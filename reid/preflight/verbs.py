"""The one function that every verb calls before it starts: what would be refused later is refused now.

`--dry-run`, `python -m jobs.doctor data --config` and the verbs themselves call it; it needs no Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from reid.config import Config
from reid.config.addresses import shards_uri
from reid.data.shards.places import is_set
from reid.data.shards.shard_set import ShardSet
from reid.dataset.recipe import make_recipe
from reid.preflight.ablation import check_ablation
from reid.preflight.labelled_data import BuiltData, LabelledData
from reid.preflight.measuring import check_evaluation, check_index
from reid.preflight.training import check_settings, check_training
from reid.preflight.tuning import check_search, check_search_settings

Verb = Literal["build", "train", "tune", "ablate", "evaluate", "index"]
VERBS: tuple[Verb, ...] = get_args(Verb)


def preflight(
    config: Config, verb: Verb, data: LabelledData | None = None, unbuilt: bool = False
) -> list[str]:
    """Check everything of a verb that its configuration and the labels tell.

    Args:
        config: the resolved configuration.
        verb: what is about to start.
        data: labels to check, e.g. of a folder that is not built yet; default: the configured shard set.
        unbuilt: whether a set that is not built is a line of the result instead of an error; of it only the
            configuration is checked.

    Returns:
        Lines for the user: choices that are allowed and have consequences.

    Raises ConfigError, UnsupportedPairing or TrainingError naming the field and the remedy, DataError for a
    set or a split that is not there.

    >>> preflight(config, "train")
    ['validation: on 4 identities only; ...']
    """
    make_recipe(config)
    if verb == "build":
        return []
    if verb == "tune":
        check_search_settings(config)
    elif verb == "train":
        check_settings(config)
    sets = _Sets(config, data, unbuilt)
    if verb == "ablate":
        return [*check_ablation(config, sets.of), *sets.notes]
    known = sets.of(config)
    return sets.notes if known is None else _CHECKS[verb](config, known)


_CHECKS: dict[str, Callable[[Config, LabelledData], list[str]]] = {
    "train": check_training,
    "tune": check_search,
    "evaluate": check_evaluation,
    "index": check_index,
}


class _Sets:
    """The labels of configurations: those that were given, or each shard set once."""

    def __init__(self, config: Config, data: LabelledData | None, unbuilt: bool) -> None:
        self.given, self.unbuilt = (shards_uri(config), data), unbuilt
        self.notes: list[str] = []
        self._opened: dict[str, LabelledData | None] = {}

    def of(self, config: Config) -> LabelledData | None:
        """The labels; None, with a note, for a set that is not built, if that is no error."""
        uri = shards_uri(config)
        if self.given[1] is not None and self.given[0] == uri:
            return self.given[1]
        if uri not in self._opened:
            if self.unbuilt and not is_set(uri):
                self._opened[uri] = None
                self.notes.append(f"not checked: no shard set at {uri}")
            else:
                self._opened[uri] = BuiltData(ShardSet.open(uri))
        return self._opened[uri]
