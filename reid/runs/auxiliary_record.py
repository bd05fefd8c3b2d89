"""Records the generators of a model's auxiliary inputs in runs and galleries, so that queries can repeat
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reid.modality import Target

TARGETS = {"mask": Target.MASK, "caption": Target.TEXT}
"""What makes each auxiliary input; a mask first, since a caption may need it."""
Record = Mapping[str, Mapping[str, Any] | None]
"""Auxiliary input -> {generator, params, params_hash}; None: captured, or there is none."""


def auxiliary_record(auxiliary: Iterable[str], generators: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The `Record` of a model's auxiliary inputs, from a shard set's generators by target."""
    return {name: generators.get(target.value) for name, target in TARGETS.items() if name in set(auxiliary)}
