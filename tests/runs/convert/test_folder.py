"""The run folder of a converted checkpoint: where it lies, whose labels it has, what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reid.config import load
from reid.data.shards.shard_set import ShardSet
from reid.errors import StorageError
from reid.modality import CAMERA
from reid.runs.convert.folder import PLACEHOLDER, prepare, write
from reid.runs.folder import RunFolder
from reid.runs.run import load_run
from tests.support.models.public_checkpoints import (
    CAMERAS,
    CLASSES,
    MFRNET,
    SIGNAL,
    config_of,
    public_mfrnet,
    public_signal,
    saved,
    tiny_mfrnet,
    tiny_signal,
)
from tests.support.sets.shards import make_sample, make_shards


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """Of a tiny MFRNet."""
    return saved(public_mfrnet(tiny_mfrnet()), tmp_path / "public.pth")


def shard_set(root: Path, identities: int, cameras: int) -> ShardSet:
    """Identities 10, 11, ... in cameras 4, 5, ..., each with every camera modality."""
    samples = [
        make_sample(10 + i, 4 + c, CAMERA, camid=4 + c, dataset="mine")
        for i in range(identities)
        for c in range(cameras)
    ]
    return make_shards(root, [samples])


def test_the_folder_is_named_by_its_content_and_written_once(checkpoint: str, tmp_path: Path) -> None:
    config = config_of("mfrnet", MFRNET, tmp_path / "work")
    folder, written = write(prepare(config, checkpoint))
    assert written
    place = Path(folder.uri)
    assert place.parent == tmp_path / "work" / "train" / "tiny-mfrnet"
    assert place.name.startswith("converted-")
    assert RunFolder.open(str(place.parent)).uri == folder.uri
    again, rewritten = write(prepare(config, checkpoint))
    assert (again.uri, rewritten) == (folder.uri, False)
    other = saved(public_mfrnet(tiny_mfrnet(seed=2)), tmp_path / "other.pth")
    assert prepare(config, other).uri != folder.uri
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(Path(checkpoint).read_bytes())
    assert prepare(config, str(moved)).uri == folder.uri


def test_preparing_writes_nothing(checkpoint: str, tmp_path: Path) -> None:
    prepare(config_of("mfrnet", MFRNET, tmp_path / "work"), checkpoint)
    assert [p.name for p in tmp_path.iterdir()] == ["public.pth"]


def test_a_given_place_is_used_and_another_run_there_is_kept(checkpoint: str, tmp_path: Path) -> None:
    prepared = prepare(config_of("mfrnet", MFRNET, tmp_path / "work"), checkpoint)
    place = tmp_path / "runs" / "mine"
    folder, _ = write(prepared, f"{place}/")
    assert folder.uri == str(place)
    assert not write(prepared, str(place))[1]
    other = prepare(config_of("mfrnet", MFRNET, tmp_path / "work", "model.ffm.capacity=2"), checkpoint)
    with pytest.raises(StorageError, match="mine: holds another run already; give --to"):
        write(other, str(place))
    assert RunFolder.open(str(place)).fingerprint == folder.fingerprint


def test_a_folder_says_that_it_was_converted(checkpoint: str, tmp_path: Path) -> None:
    info = write(prepare(config_of("mfrnet", MFRNET, tmp_path / "work"), checkpoint))[0].info
    assert (info["status"], info["epochs"], info["steps"]) == ("finished", 0, 0)
    assert (info["regime"], info["selection"]) == ("matched", "converted")
    told = info["converted"]
    assert (told["system"], told["checkpoint"], told["labels"]) == ("MFRNet", checkpoint, "placeholders")
    assert json.loads(json.dumps(info)) == info


def test_without_built_shards_labels_are_placeholders(checkpoint: str, tmp_path: Path) -> None:
    labels = prepare(config_of("mfrnet", MFRNET, tmp_path / "work"), checkpoint).labels
    assert labels.classes == tuple((PLACEHOLDER, i) for i in range(CLASSES))
    assert labels.cameras == tuple(range(CAMERAS))  # as public data sets number them


def test_built_shards_of_the_same_counts_give_the_labels(checkpoint: str, tmp_path: Path) -> None:
    shards = shard_set(tmp_path / "shards", CLASSES, CAMERAS)
    config = config_of("mfrnet", MFRNET, tmp_path / "work", f"data.shards={shards.root}")
    found = prepare(config, checkpoint)
    assert found.labels.classes == tuple(("mine", 10 + i) for i in range(CLASSES))
    assert found.labels.cameras == (4, 5, 6)
    assert found.summary["labels"] == "shards"
    run = load_run(write(found)[0].uri)
    assert run.folder.info["data_fingerprint"] == shards.fingerprint
    assert run.labels == found.labels


@pytest.mark.parametrize(("identities", "cameras"), [(CLASSES + 1, CAMERAS), (CLASSES, CAMERAS - 1)])
def test_built_shards_of_other_counts_do_not(
    checkpoint: str, tmp_path: Path, identities: int, cameras: int
) -> None:
    shards = shard_set(tmp_path / "shards", identities, cameras)
    config = config_of("mfrnet", MFRNET, tmp_path / "work", f"data.shards={shards.root}")
    found = prepare(config, checkpoint)
    assert found.summary["labels"] == "placeholders"
    assert len(found.labels.classes) == CLASSES


@pytest.mark.parametrize("system", ["mfrnet", "signal"])
def test_a_checkpoint_without_camera_embedding_knows_no_cameras(tmp_path: Path, system: str) -> None:
    if system == "mfrnet":
        state = public_mfrnet(tiny_mfrnet())
        del state["BACKBONE.cv_embed"]
    else:
        state = public_signal(tiny_signal())
        del state["clip_vision_encoder.cv_embed"]
    fields: dict[str, Any] = {**(MFRNET if system == "mfrnet" else SIGNAL), "camera_embedding": False}
    found = prepare(config_of(system, fields, tmp_path), saved(state, tmp_path / "public.pth"))
    assert (found.summary["cameras"], found.labels.cameras) == (0, ())


def test_the_checkpoint_of_another_public_set_is_remarked(checkpoint: str, tmp_path: Path) -> None:
    """Presets of two sets may differ in nothing that has a shape."""
    state = public_signal(tiny_signal())
    state |= {k: torch.zeros(155, 48) for k in ("classifier.weight", "classifier_var.weight")}
    state["clip_vision_encoder.cv_embed"] = torch.zeros(8, 1, 32)
    file = saved(state, tmp_path / "public.pth")
    (remark,) = prepare(config_of("signal", SIGNAL, tmp_path, "data.name=rgbnt100"), file).summary["remarks"]
    assert "155 identities and 8 cameras" in remark and "msvr310 has these" in remark
    assert not prepare(config_of("signal", SIGNAL, tmp_path, "data.name=msvr310"), file).summary["remarks"]


def test_the_config_of_the_folder_builds_its_model_anywhere(checkpoint: str, tmp_path: Path) -> None:
    config = load(config_of("mfrnet", MFRNET, tmp_path).model_dump(mode="json"), ["workdir=work"])
    assert Path(prepare(config, checkpoint).uri).is_absolute()
