"""Checks that a reader on disk cannot provoke, and the trial of a protocol on labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from reid import storage
from reid.data.images import encode_jpeg, encode_png
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import Caption, Sample
from reid.data.shards.shard_set import ShardSet, publish
from reid.doctor.data.captions import check_captions
from reid.doctor.data.examination import examine
from reid.doctor.data.identities import check_identities
from reid.doctor.data.pictures import look
from reid.doctor.data.rows import KINDS, check_rows
from reid.doctor.data.source import ExaminedSample
from reid.doctor.data.trial import ProtocolTrial, camera_matters
from reid.errors import DataError
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from tests.support.doctor import by_code, pattern
from tests.support.shards import make_sample, make_shards

RGB, NIR, TEXT = Modality.RGB, Modality.NIR, Modality.TEXT


def entry(pid: int, number: int, modalities: tuple[Modality, ...] = (RGB,), **labels: Any) -> ExaminedSample:
    values = {"split": "test", "camid": number, **labels}
    return ExaminedSample(make_sample(pid, number, modalities, **values))


# Rows


def test_a_sample_id_that_occurs_twice_is_told_and_used_once() -> None:
    rows = [entry(1, 0), entry(1, 0), entry(1, 0), entry(2, 0)]
    kept, (finding,) = check_rows(rows)
    assert kept == [0, 3]
    assert (finding.code, finding.level, finding.count) == ("duplicate-sample-id", "error", 2)
    assert finding.example == "'p1-0' occurs 3 times"


def test_an_empty_caption_is_told() -> None:
    row = entry(1, 0, (RGB, TEXT))
    bad = ExaminedSample(replace(row.sample, captions=(Caption("a coat"), Caption(" "))))
    kept, (finding,) = check_rows([row, bad])
    assert kept == [0]
    assert (finding.code, finding.level, finding.count, finding.example) == (
        "empty-caption",
        "error",
        1,
        "p1-0",
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [({"pid": -4}, "pid is -4"), ({"split": "tset"}, "'tset'"), ({"roles": ("quer",)}, "'quer'")],
)
def test_broken_labels_are_told(labels: dict[str, Any], words: str) -> None:
    row = entry(1, 0)
    bad = ExaminedSample(replace(row.sample, labels=replace(row.sample.labels, **labels)))
    kept, (finding,) = check_rows([bad])
    assert kept == [] and finding.code == "unusable-row"
    assert words in (finding.example or "") and "p1-0" in (finding.example or "")


def test_problems_beyond_the_first_kinds_are_summed_up() -> None:
    rows = [ExaminedSample(entry(1, n).sample, problem=f"{'very ' * n}odd") for n in range(KINDS + 3)]
    kept, findings = check_rows(rows)
    assert kept == []
    assert [f.count for f in findings] == [1] * KINDS + [3]
    assert "3 more kinds" in findings[-1].text


# The trial


def lost(protocol: str, *entries: ExaminedSample) -> list[str]:
    return ProtocolTrial(get_protocol(protocol), entries).unanswerable()


def test_cameras_decide_only_where_the_protocol_asks_for_another() -> None:
    same = [entry(1, 0, camid=5), entry(1, 1, camid=5)]
    assert lost("cross_camera", *same) == ["p1-0", "p1-1"]
    assert lost("roles", *same) == []
    assert lost("cross_camera", entry(1, 0, camid=5), entry(1, 1, camid=6)) == []
    assert lost("cross_camera", entry(1, 0, camid=None), entry(1, 1, camid=None)) == []


def test_scenes_decide_where_the_protocol_asks_for_another() -> None:
    assert lost("cross_scene", entry(1, 0, location="a"), entry(1, 1, location="a")) == ["p1-0", "p1-1"]
    assert lost("cross_scene", entry(1, 0, location="a"), entry(1, 1, location="b")) == []


def test_other_splits_and_other_identities_are_no_answer() -> None:
    assert lost("all", entry(1, 0), entry(2, 1), entry(1, 2, split="train")) == ["p1-0", "p2-1"]


def test_a_caption_may_find_its_own_photo() -> None:
    assert lost("text_to_image", entry(1, 0, (RGB, TEXT))) == []
    assert lost("all", entry(1, 0, (RGB, TEXT))) == ["p1-0"]


def test_across_modalities_an_answer_is_of_the_other_one() -> None:
    visible, infrared = entry(1, 0, (RGB,), camid=0), entry(1, 1, (NIR,), camid=1)
    assert lost("regdb", visible, infrared) == []
    strangers = [visible, entry(1, 2, (RGB,), camid=1), entry(2, 0, (NIR,))]
    assert lost("regdb", *strangers) == ["p1-0", "p1-2", "p2-0"]


@pytest.mark.parametrize(
    ("protocol", "matters"),
    [
        ("cross_camera", True),
        ("llcm", True),
        ("cross_scene", False),
        ("all", False),
        ("text_to_image", False),
    ],
)
def test_whether_cameras_matter_is_seen_from_the_protocol(protocol: str, matters: bool) -> None:
    assert camera_matters(get_protocol(protocol)) is matters


def test_one_camera_is_only_worth_knowing_where_cameras_do_not_matter() -> None:
    rows = [entry(1, n, split=s, camid=0) for s in ("train", "test") for n in (0, 1)]
    levels = {m: {f.code: f.level for f in check_identities(rows, m)}["single-camera"] for m in (True, False)}
    assert levels == {True: "warning", False: "info"}


# Captions


def captioned(*texts: str) -> list[ExaminedSample]:
    return [
        ExaminedSample(replace(entry(pid, 0).sample, captions=(Caption(text),)))
        for pid, text in enumerate(texts)
    ]


def test_the_limit_of_tokens_is_exact() -> None:
    fits, cut = "coat " * 75, "coat " * 76  # and a start and an end token
    assert check_captions(captioned(fits)) == []
    assert by_code(check_captions(captioned(fits, cut))) == {"long-caption": 1}


def test_captions_of_one_identity_may_be_alike() -> None:
    one = entry(1, 0, (RGB, TEXT)).sample
    same = [ExaminedSample(replace(one, captions=(Caption("A coat."),))) for _ in range(3)]
    assert check_captions(same) == []


# Pictures


def test_a_recoded_or_scaled_picture_keeps_its_hash_and_another_has_its_own() -> None:
    pixels = np.asarray(pattern(1))
    small = np.asarray(pattern(1).resize((24, 48), PILImage.Resampling.BICUBIC))
    first, jpeg, scaled, other = (
        look(0, RGB, data, "x")
        for data in (
            encode_png(pixels),
            encode_jpeg(pixels, quality=60),
            encode_png(small),
            encode_png(np.asarray(pattern(2))),
        )
    )
    assert (first.hash ^ jpeg.hash).bit_count() <= 4
    assert (first.hash ^ scaled.hash).bit_count() <= 4
    assert (first.hash ^ other.hash).bit_count() > 12
    assert len({first.digest, jpeg.digest, scaled.digest}) == 3


# Shard sets


def samples(split: str, first: int) -> list[Sample]:
    made = []
    for pid in (first, first + 1):
        for camera in (0, 1):
            sample = make_sample(pid, camera, (RGB,), split=split, camid=camera)
            data = encode_png(np.asarray(pattern(10 * pid + camera)))
            image = replace(sample.images[RGB], image=data, width=32, height=64)
            made.append(replace(sample, images={RGB: image}, content_hash=storage.sha256(data)))
    return made


def built(root: Path, **manifest: Any) -> ShardSet:
    return make_shards(root, [samples("train", 1), samples("test", 11)], rows_per_group=2, **manifest)


def test_a_built_set_is_recognised_and_may_be_trained_on(tmp_path: Path) -> None:
    report = examine(built(tmp_path).root)
    assert report.findings == []
    assert (report.layout, report.captures, report.looked_at) == ("shard set", 8, 8)
    assert report.counts["test"]["all"]["images"] == {"rgb": 4}
    assert report.next is not None
    assert report.next.startswith("python -m jobs.train") and f"data.shards={tmp_path}" in report.next


def test_a_built_set_keeps_the_preset_of_its_data_set(tmp_path: Path) -> None:
    report = examine(built(tmp_path, dataset="msvr310").root)
    assert report.protocol == "cross_scene"
    assert report.next is not None and "--preset baseline/msvr310" in report.next


def test_a_shard_file_that_is_gone_is_told_and_the_rest_examined(tmp_path: Path) -> None:
    built(tmp_path)
    (tmp_path / "data" / "s0.parquet").unlink()
    report = examine(str(tmp_path))
    assert by_code(report.findings) == {"shard-missing": 1, "empty-split": 1}
    assert not report.ok and report.captures == 4


@pytest.mark.parametrize("cut", [True, False])
def test_a_shard_file_that_changed_is_told(cut: bool, tmp_path: Path) -> None:
    built(tmp_path)
    file = tmp_path / "data" / "s1.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data[:-1] if cut else data)
    assert by_code(examine(str(tmp_path)).findings) == {"shard-damaged": 1, "empty-split": 1}


def test_rows_that_a_build_set_aside_are_told(tmp_path: Path) -> None:
    shards = built(tmp_path)
    rows = [{"sample_id": "x", "stage": "read", "reason": "a.jpg: empty file (0 bytes)."}]
    publish(
        shards.root, Manifest(**{**shards.manifest.model_dump(), "quarantine_rows": rows, "quarantined": 1})
    )
    (finding,) = examine(shards.root).findings
    assert (finding.code, finding.level, finding.count) == ("set-aside", "warning", 1)
    assert finding.example == "a.jpg: empty file (0 bytes)."


def test_faults_of_a_built_set_are_found(tmp_path: Path) -> None:
    train, test = samples("train", 1), samples("test", 11)
    test[2] = replace(test[2], images=test[0].images, content_hash=test[0].content_hash)  # 12 shows 11
    make_shards(tmp_path, [train, test])
    (finding,) = examine(str(tmp_path)).findings
    assert (finding.code, finding.example) == ("same-picture-two-identities", "p11-0 = p12-0")


def test_only_the_row_groups_of_the_sample_are_read(tmp_path: Path) -> None:
    from reid.doctor.data.source import ShardSource

    source = ShardSource(built(tmp_path))
    read = []
    read_group = source.shards.read_group
    source.shards.read_group = lambda group: read.append(group.index) or read_group(group)  # type: ignore
    loaded = dict(source.load([1, 6]))
    assert {i: s.labels.sample_id for i, s in loaded.items() if isinstance(s, Sample)} == {
        1: "p1-1",
        6: "p12-0",
    }
    assert read == [0, 1]


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    storage.write_json(str(tmp_path / "MANIFEST.json"), {"schema_version": "0"})
    with pytest.raises(DataError, match="schema version 0"):
        examine(str(tmp_path))
