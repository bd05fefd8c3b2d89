"""The one function that every verb calls before it starts: what would be refused later is refused now.

`--dry-run`, `python -m jobs.doctor data --config` and the verbs themselves call it; it needs no Ray.
"""

from __future__ import annotations

from typing import Literal, get_args

from reid import storage
from reid.config import Config
from reid.config.addresses import shards_uri
from reid.data.shards.manifest import MANIFEST
from reid.data.shards.shard_set import ShardSet
from reid.dataset.recipe import make_recipe
from reid.preflight.labelled_data import BuiltData, LabelledData
from reid.preflight.training import check_settings, check_training

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
        unbuilt: whether a set that is not built yet is a line of the result instead of an error; then only
            the configuration is checked.

    Returns:
        Lines for the user: choices that are allowed and have consequences.

    Raises ConfigError, UnsupportedPairing or TrainingError naming the field and the remedy, DataError for a
    set or a split that is not there.

    >>> preflight(config, "train")
    []
    """
    make_recipe(config)
    if verb == "build":
        return []
    check_settings(config)
    uri = shards_uri(config)
    if data is None and unbuilt and not storage.exists(storage.join(uri, MANIFEST)):
        return [f"not checked: no shard set at {uri}"]
    known = data or BuiltData(ShardSet.open(uri))
    return check_training(config, known)
