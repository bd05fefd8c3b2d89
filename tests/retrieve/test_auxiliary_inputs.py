"""Queries of a model with auxiliary inputs: what is made for them, what is given, and what is degraded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from pipelines.serve.api import make_api
from pipelines.serve.core import LocalCore
from reid.config import GenerateConfig, ServeConfig, load
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.images import encode_mask
from reid.errors import UnsupportedPairing, UsageError
from reid.gallery.store import Gallery
from reid.generate.registry import bind
from reid.modality import PUBLISHED, Modality, Target
from reid.models.registry import build_model
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.auxiliary_inputs import AuxiliaryMaker
from reid.retrieve.retriever import Retriever
from reid.runs.auxiliary_record import auxiliary_record
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap
from reid.runs.run import Run, load_run, model_context
from tests.support.retrieval.filled_galleries import make_run as baseline_run
from tests.support.retrieval.filled_galleries import picture

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


def record_of(**made_by: tuple[str, dict[str, Any]] | None) -> dict[str, Any]:
    """As a manifest says it: target -> generator, parameters and their hash."""
    found: dict[str, Any] = {}
    for target, made in made_by.items():
        if made is not None:
            bound = bind(Target(target), GenerateConfig(generator=made[0], params=made[1]))
            found[target] = {"generator": made[0], "params": bound.params, "params_hash": bound.params_hash}
    return found


FREE = {"mask": ("mask_prior", {}), "text": ("cap_attr", {"kind": "object"})}


def make_run(folder: Path, generators: dict[str, Any]) -> Run:
    """A run folder of an untrained STMI whose training set these generators completed."""
    torch.manual_seed(4)
    config = load(
        {
            "name": "tiny-stmi",
            "data": {
                "name": "synthetic",
                "reader": {"name": "synthetic"},
                "modalities": "rgb+nir",
                "height": 32,
                "width": 16,
            },
            "model": {
                "name": "stmi",
                "tower": {"arch": None, "patch": 4, "width": 32, "layers": 1, "heads": 2, "dim": 32},
                "text": {"width": 32, "layers": 1, "heads": 2},
                "sfm": {"init": 0.8},
            },
        }
    )
    labels = LabelMap((("synthetic", 0), ("synthetic", 1)), (0, 1))
    model = build_model(config.model, model_context(config, labels))
    with torch.no_grad():
        model.get_parameter("text_null").normal_()
    info = {"generators": generators, "auxiliary": auxiliary_record(model.auxiliary, generators)}
    return load_run(write_run(str(folder), config, model, labels, info).uri)


def retriever_of(run: Run, path: Path, provenance: dict[str, Any] | None = None) -> Retriever:
    gallery = Gallery.create(
        str(path), run.model.dim, ["rgb", "rgb+nir"], run.fingerprint, run.uri, provenance
    )
    retriever = Retriever(run, gallery)
    retriever.put([NewItem(f"item-{n}", {RGB: picture(n), NIR: picture(100 + n)}) for n in range(5)])
    return retriever


@pytest.fixture(scope="module")
def free_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its masks and captions were made by generators that need no weights."""
    return make_run(tmp_path_factory.mktemp("free") / "run", record_of(**FREE))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def captured_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its masks and captions were captured."""
    return make_run(tmp_path_factory.mktemp("captured") / "run", {})


def score(result: SearchResult, name: str) -> float:
    return next(hit.score for hit in result.hits if hit.id == name)


def test_a_query_gets_the_generators_of_the_training_set_and_is_not_degraded(
    free_run: Run, tmp_path: Path
) -> None:
    retriever = retriever_of(free_run, tmp_path / "g")
    result = retriever.search({RGB: picture(3), NIR: picture(103)})
    assert result.hits[0].id == "item-3"
    assert result.hits[0].score == pytest.approx(1, abs=1e-5), "as the item's own were made"
    assert not result.degraded
    assert result.warnings == ()
    assert free_run.folder.info["auxiliary"]["caption"]["generator"] == "cap_attr"


def test_inputs_that_were_captured_are_null_unless_sent_and_the_answer_says_so(
    captured_run: Run, tmp_path: Path
) -> None:
    retriever = retriever_of(captured_run, tmp_path / "g")
    bare = retriever.search({RGB: picture(3)})
    assert bare.degraded
    assert [w for w in bare.warnings if w.startswith(("No mask", "No caption"))] == list(bare.warnings)
    mask = np.zeros((64, 32), bool)
    mask[16:48, 8:24] = True
    parts: dict[Modality, bytes | str] = {RGB: picture(3), TEXT: "a red coat"}
    whole = retriever.search_many([SearchQuery(parts, mask=encode_mask(mask))])[0]
    assert not whole.degraded
    assert whole.warnings == ()
    assert whole.query_subset == "rgb", "the sentence is a caption, not a modality"
    assert score(whole, "item-3") < score(bare, "item-3") - 1e-4, "items have null inputs, too"
    caption_only = retriever.search(parts)
    assert caption_only.degraded
    assert len(caption_only.warnings) == 1


def test_a_sentence_alone_finds_nothing_in_a_model_of_pictures(captured_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPairing, match="cannot take text"):
        retriever_of(captured_run, tmp_path / "g").search({TEXT: "a red coat"})


def test_what_a_gallery_says_of_its_generators_goes_before_the_run_and_differences_are_told(
    free_run: Run, tmp_path: Path
) -> None:
    other = record_of(mask=("mask_prior", {"threshold": 0.6}), text=FREE["text"])  # type: ignore[arg-type]
    provenance = {"auxiliary": auxiliary_record(free_run.model.auxiliary, other)}
    retriever = retriever_of(free_run, tmp_path / "g", provenance)
    assert retriever.inputs.record["mask"]["params"]["threshold"] == 0.6
    result = retriever.search({RGB: picture(3)})
    assert not result.degraded
    assert len(result.warnings) == 1
    assert "The mask of training came from mask_prior" in result.warnings[0]


def test_an_item_keeps_what_it_is_given(free_run: Run, tmp_path: Path) -> None:
    retriever = retriever_of(free_run, tmp_path / "g")
    mask = encode_mask(np.arange(64 * 32).reshape(64, 32) % 32 < 5)
    one, other = retriever.make_items(
        [NewItem("a", {RGB: picture(1), TEXT: "a dog"}, mask=mask), NewItem("b", {RGB: picture(1)})]
    )
    assert set(one.vectors) == {"rgb"}
    assert not np.allclose(one.vectors["rgb"], other.vectors["rgb"], atol=1e-4)


def maker(**made_by: Any) -> AuxiliaryMaker:
    generators = record_of(**made_by)
    return AuxiliaryMaker(auxiliary_record(("caption", "mask"), generators))


def row(seed: int = 1, **fields: Any) -> BatchRow:
    return BatchRow({RGB: RowPart(picture(seed), "rgb")}, **fields)


def test_rows_are_completed_mask_first_and_alike_every_time() -> None:
    made = maker(**FREE)
    first, second = (made.complete([row(1), row(2)]) for _ in range(2))
    assert first == second
    assert not any(done.degraded or done.notes for done in first)
    for done in first:
        assert done.row.mask is not None and done.row.mask.startswith(b"\x89PNG")
        assert done.row.caption is not None and str(done.row.caption.content)
    mask = encode_mask(np.zeros((8, 8), bool))
    (given,) = made.complete([row(1, mask=mask, caption=RowPart("mine", "c"))])
    assert given.row.mask == mask and given.row.caption == RowPart("mine", "c")
    (empty,) = made.complete([row(1, caption=RowPart(" ", "c"))])
    assert empty.row.caption is not None and str(empty.row.caption.content).strip()


def test_a_picture_that_the_generator_does_not_read_leaves_the_input_null() -> None:
    (done,) = maker(**FREE).complete([BatchRow({NIR: RowPart(picture(1), "nir")})])
    assert done.degraded
    assert done.row.mask is None and done.row.caption is None
    assert any("mask_prior reads rgb" in note for note in done.notes)


def test_generators_with_weights_are_not_loaded_for_queries() -> None:
    record = {
        "mask": {"generator": "mask_sam", "params": {"weights": "/nowhere/sam.pth"}, "params_hash": "x"}
    }
    (done,) = AuxiliaryMaker(record).complete([row()])
    assert done.degraded
    assert done.row.mask is None
    assert "mask_sam made the data's, and needs weights" in done.notes[0]


def test_a_generator_of_another_version_or_none_of_this_name_is_told() -> None:
    made_by = dict(record_of(mask=("mask_prior", {}))["mask"])  # type: ignore[arg-type]
    (done,) = AuxiliaryMaker({"mask": {**made_by, "params_hash": "older"}}).complete([row()])
    assert not done.degraded
    assert done.row.mask is not None
    assert "another version" in done.notes[0]
    (gone,) = AuxiliaryMaker({"mask": {**made_by, "generator": "mask_magic"}}).complete([row()])
    assert gone.degraded
    assert "mask_magic" in gone.notes[0]


def test_the_endpoint_takes_a_mask_and_says_when_it_is_degraded(captured_run: Run, tmp_path: Path) -> None:
    retriever = retriever_of(captured_run, tmp_path / "g")
    client = TestClient(make_api(LocalCore(retriever), ServeConfig()))
    bare = client.post("/v1/search", files={"rgb": picture(3)}).json()
    assert bare["degraded"] is True
    mask = encode_mask(np.arange(64 * 32).reshape(64, 32) % 32 < 9)
    whole = client.post(
        "/v1/search", files={"rgb": picture(3), "mask": mask}, data={"text": "a red coat"}
    ).json()
    assert whole["degraded"] is False
    assert whole["query_subset"] == "rgb"
    broken = client.post("/v1/search", files={"rgb": picture(3), "mask": b"no picture"})
    assert (broken.status_code, broken.json()["field"]) == (422, "mask")
    text = client.post("/v1/search", files={"rgb": picture(3)}, data={"mask": "everywhere"})
    assert (text.status_code, text.json()["field"]) == (422, "mask")
    assert client.get("/healthz").json()["model"]["auxiliary"] == {"mask": None, "caption": None}


def test_a_model_without_auxiliary_inputs_says_that_a_mask_is_not_used(tmp_path: Path) -> None:
    run = baseline_run(tmp_path / "run", "rgb+nir", "mean")
    gallery = Gallery.create(str(tmp_path / "g"), run.model.dim, ["rgb"], run.fingerprint, run.uri)
    retriever = Retriever(run, gallery)
    retriever.put([NewItem("a", {RGB: picture(1)})])
    found = retriever.search_many([SearchQuery({RGB: picture(1)}, mask=encode_mask(np.ones((4, 4), bool)))])[
        0
    ]
    assert found.warnings == ("Not used: the mask; this model takes none.",)
    assert not found.degraded


def test_embedding_outside_a_gallery_takes_a_caption_and_tells_what_it_was_not_given(
    free_run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    text = "a red tin with a white label"
    captioned = free_run.embed({RGB: picture(3), Modality.TEXT: text})
    assert "stmi also uses a mask, which it is not given here" in caplog.text
    row = BatchRow({RGB: RowPart(picture(3), "rgb")}, caption=RowPart(text, "text"))
    np.testing.assert_allclose(captioned, free_run.embed_rows([row], "query")[0], atol=1e-6)
    bare = free_run.embed(picture(3))
    assert "uses a caption and a mask" in caplog.text
    assert not np.allclose(bare, captioned, atol=1e-4)
    with pytest.raises(UsageError, match=r"does not take text on the query side; .*rgb\+nir"):
        free_run.embed(text)
