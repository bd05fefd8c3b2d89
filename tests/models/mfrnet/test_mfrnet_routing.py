"""Where MFRNet says that patches go: what its mixtures chose, at the right image and place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.errors import DataError
from reid.modality import parse_subset
from reid.models.base import ModelContext, ReIDModel
from reid.models.mfrnet.model import Config, Model

MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"hidden": 8, "router": {"score": "cosine", "dim": 8, "noise": 1.0}}
TOWER = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
ROWS, COLUMNS = 4, 2


def mfrnet(**fields: Any) -> Model:
    """A tiny MFRNet over three cameras whose routers tell tokens apart."""
    torch.manual_seed(1)
    merged = {**fields, "ffm": {**SMALL, **fields.get("ffm", {})}, "frm": {**SMALL, **fields.get("frm", {})}}
    config = check(Config, {"tower": TOWER, **merged}, "model")
    return Model(config, ModelContext(4, 3, 32, 16, parse_subset("rgb+nir+tir"))).eval()


def heard(model: Model, name: str) -> list[Tensor]:
    """The chosen expert of every token that a mixture sees from now on, in its own order."""
    assert model.ffm is not None
    moe = model.ffm.generators[int(name[3:])] if name.startswith("ffm") else model.frm[name[3:]]
    found: list[Tensor] = []
    moe.register_forward_hook(lambda _, __, out: found.append(out.routing.gates.argmax(1)))
    return found


def test_every_mixture_and_modality_has_an_expert_a_patch(batch_of: MakeBatch) -> None:
    found = mfrnet().routing(batch_of(["rgb+nir+tir"] * 3))
    assert sorted(found) == sorted(
        f"{x}/{m}" for x in ("ffm0", "ffm1", "frm1") for m in ("rgb", "nir", "tir")
    )
    for name, one in found.items():
        assert one.experts.shape == (3, ROWS, COLUMNS)
        assert one.count == (3 if name.startswith("ffm") else 6)
        assert one.experts.min() >= 0 and one.experts.max() < one.count
    assert len({int(e) for one in found.values() for e in one.experts.flatten()}) > 1


def test_refinement_is_told_as_an_embedding_chooses_it(batch_of: MakeBatch) -> None:
    model, batch = mfrnet(), batch_of(["rgb+nir+tir", "rgb+nir+tir"])
    tokens = heard(model, "frm1")
    found = model.routing(batch)
    told = torch.stack([found[f"frm1/{m}"].experts for m in ("rgb", "nir", "tir")])  # (3, B, rows, columns)
    chosen = tokens[0].view(3, 2, 1 + ROWS * COLUMNS)[..., 1:]  # modality by modality, without class tokens
    assert torch.equal(told.flatten(2), chosen)
    model.prune = False
    with torch.inference_mode():
        model.embed(batch, "query")
    assert torch.equal(tokens[1], tokens[0])


def test_fusion_tells_of_the_images_that_there_are(batch_of: MakeBatch) -> None:
    model = mfrnet()
    tokens = heard(model, "ffm0")
    found = model.routing(batch_of(["rgb+nir+tir", "nir", "rgb+nir"]))
    absent = found["ffm0/rgb"].experts[1]
    assert (absent == -1).all()
    assert (found["ffm0/tir"].experts[1:] == -1).all()
    assert (found["ffm0/nir"].experts >= 0).all()
    assert (found["frm1/tir"].experts >= 0).all()  # what fusion made up is refined like the others
    first = tokens[0].view(-1, 1 + ROWS * COLUMNS)[:, 1:]
    nir = found["ffm0/nir"].experts.flatten(1)
    assert torch.equal(first[:3], nir)  # the first direction is nir to rgb


def test_without_fusion_refinement_finds_the_rows_of_each_modality(batch_of: MakeBatch) -> None:
    found = mfrnet(ffm={"enabled": False}).routing(batch_of(["nir", "rgb+nir", "rgb"]))
    rgb, nir = found["frm1/rgb"].experts, found["frm1/nir"].experts
    assert [bool((row >= 0).all()) for row in rgb] == [False, True, True]
    assert [bool((row >= 0).all()) for row in nir] == [True, True, False]
    assert (found["frm1/tir"].experts == -1).all()


def test_dropped_patches_are_minus_one(batch_of: MakeBatch) -> None:
    found = mfrnet(ffm={"capacity": 0.2}).routing(batch_of(["rgb+nir+tir"] * 4))
    dropped = torch.cat([found[f"ffm0/{m}"].experts for m in ("rgb", "nir", "tir")]) == -1
    assert 0 < dropped.float().mean() < 1


def test_a_row_without_a_modality_of_the_model_is_refused(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError):
        mfrnet().routing(batch_of(["rgb", "sketch"]))


def test_models_without_experts_route_nothing(make: Callable[..., ReIDModel], batch_of: MakeBatch) -> None:
    assert make("rgb+nir").routing(batch_of(["rgb+nir"])) == {}
