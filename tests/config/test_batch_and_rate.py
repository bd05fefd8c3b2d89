"""Every preset of a public data set says what its learning rates are for: P, shared by all ranks."""

from __future__ import annotations

from importlib.resources import files

import pytest

from reid.config import load, presets

_OWN_PICTURES = ("synthetic", "folder")
PUBLIC = [name for name in presets() if load(name).data.reader.name not in _OWN_PICTURES]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_comment_tells_identities_in_a_batch_ranks_and_rate(name: str) -> None:
    train = load(name).train
    batch = train.batch
    rows = 1 if batch.sampler == "tuple" else batch.instances
    told = (
        f"# A batch of all ranks: P = {batch.identities}, K = {rows}; ranks share P equally. "
        f"lr {train.optim.lr:.1e} is for this P (train.optim.scale_lr)."
    )
    text = (files("reid.config") / "presets" / f"{name}.yaml").read_text("utf-8")
    assert told in text.splitlines(), f"{name}: the comment should be {told!r}"


def test_presets_of_every_system_are_meant() -> None:
    assert {name.partition("/")[0] for name in PUBLIC} == {
        "baseline", "flexireid", "mfrnet", "mixer", "signal", "stmi"
    }  # fmt: skip
