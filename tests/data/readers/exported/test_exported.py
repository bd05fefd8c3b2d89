"""Trees with a manifest.jsonl: ours, edited ones, and those that other tools write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.data.readers.base import Reader, Record, open_reader
from reid.data.readers.exported.reader import Config
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.shards import flat_picture

LIMIT = 1_000_000


def line(path: str | None, modality: str = "rgb", **fields: Any) -> dict[str, Any]:
    """What the specification of such manifests asks for."""
    return {"rel_path": path, "pid": 7, "cam": 1, "split": "train", "modality": modality, **fields}


def tree(root: Path, lines: list[dict[str, Any]], captions: Any = None) -> Path:
    for one in lines:
        if one["rel_path"]:
            file = root / one["rel_path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(flat_picture((1, 2, 3)))
    (root / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    if captions is not None:
        (root / "captions.json").write_text(json.dumps(captions))
    return root


def reader(root: Path, **fields: Any) -> Reader:
    return open_reader(Config(path=str(root), **fields), "own")


def read(root: Path, **fields: Any) -> dict[str, Record]:
    return {r.labels.sample_id: r for r in reader(root, **fields).records()}


SKETCH = line(
    "imgs-sketch/a/1.png",
    "sketch",
    synthetic=True,
    generator="other_tool",
    version="2",
    params_hash="ff",
    seed=3,
    source_rel_path="imgs/a/1.jpg",
)


def test_the_fields_of_a_foreign_manifest_are_enough(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/a/1.jpg"), SKETCH, line("masks/a/1.png", "mask")])
    (record,) = read(root).values()
    assert (record.labels.sample_id, record.labels.pid, record.labels.camid) == ("a/1", 7, 1)
    assert record.labels.dataset == "own"
    assert [*record.images] == [Modality.RGB, Modality.SKETCH] and record.mask
    sample = reader(root).load(record, LIMIT)
    made = sample.images[Modality.SKETCH]
    assert (made.origin, made.generator, made.params_hash) == ("generated", "other_tool", "ff")
    assert made.source_id == "a/1", "so that the sketch never finds its own photo"
    assert sample.images[Modality.RGB].origin == "captured"


def test_paths_may_be_given_below_the_modalitys_folder(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/a/1.jpg"), SKETCH])
    text = (root / "manifest.jsonl").read_text().replace("imgs-sketch/a", "a").replace('"imgs/a', '"a')
    (root / "manifest.jsonl").write_text(text)
    (record,) = [r for r in read(root).values() if not r.problem]
    assert record.images[Modality.RGB] == f"{root}/imgs/a/1.jpg"


@pytest.mark.parametrize("infrared", ["nir", "tir"])
def test_ir_is_the_infrared_that_the_reader_is_told(tmp_path: Path, infrared: str) -> None:
    root = tree(tmp_path, [line("imgs/1.jpg"), line("imgs-ir/1.png", "ir")])
    (record,) = read(root, infrared=infrared).values()
    assert [*record.images] == [Modality.RGB, Modality(infrared)]


def test_numbers_may_be_spelled_as_text(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/1.jpg", pid="0012", cam="3")])
    (record,) = read(root).values()
    assert (record.labels.pid, record.labels.camid, record.problem) == (12, 3, None)


@pytest.mark.parametrize("key", ["imgs/a/1.jpg", "a/1.jpg", "a/1"])
def test_captions_are_found_by_path_or_id(tmp_path: Path, key: str) -> None:
    root = tree(tmp_path, [line("imgs/a/1.jpg")], {key: ["a hat", {"text": "a coat", "confidence": 0.5}]})
    (record,) = read(root).values()
    assert record.captions == ("a hat", "a coat")
    assert reader(root).load(record, LIMIT).captions[1].confidence == 0.5


def test_without_captions_the_lists_of_descriptions_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/a/1.jpg")])
    (root / "text").mkdir()
    (root / "text/train_ALL.json").write_text('[{"item": "a/1.jpg", "description": "a hat"}]')
    (root / "train_attrs.json").write_text(
        '[{"item": "a/1.jpg", "attributes": [{"name": "hat", "value": "red", "source": "RGB"}]}]'
    )
    (record,) = read(root).values()
    assert record.captions == ("a hat",)
    assert record.labels.attributes[0].value == "red"


def test_a_row_of_text_needs_no_file(tmp_path: Path) -> None:
    root = tree(tmp_path, [line(None, "text", sample_id="t1")], {"t1": "only words"})
    record = read(root)["t1"]
    assert record.problem is None
    assert [c.text for c in reader(root).load(record, LIMIT).captions] == ["only words"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            line("imgs-nir/gone.png", "nir", sample_id="s"),
            "manifest.jsonl line 2 names imgs-nir/gone.png, which",
        ),
        (line("../../etc/x.png", "nir", sample_id="s"), "give a path below the folder"),
        (line("imgs-nir/1.png", "nir", sample_id="s", pid=8), r"more than one pid \(7, 8\)"),
        (line("imgs-nir/1.png", "nir", sample_id="s", cam=0), "more than one cam"),
        (line("imgs/2.png", "rgb", sample_id="s"), "two rgb files; remove one"),
        (line("imgs-nir/1.png", "nir", sample_id="s", pid="bob"), r"more than one pid \(7, bob\)"),
    ],
)
def test_a_line_that_cannot_be_used_sets_its_sample_aside(
    tmp_path: Path, second: dict[str, Any], message: str
) -> None:
    first = line("imgs/1.jpg", sample_id="s")
    kept = line("imgs/9.jpg", sample_id="good")
    root = tree(tmp_path / "in", [first, *([second] if "1.png" in second["rel_path"] else []), kept])
    if "imgs/2" in second["rel_path"]:
        (root / "imgs/2.png").write_bytes(flat_picture((1, 2, 3)))
    (root / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in (first, second, kept)))
    records = read(root)
    assert records["good"].problem is None
    with pytest.raises(DataError, match=message):
        reader(root).load(records["s"], LIMIT)


def test_an_unknown_split_or_pid_sets_aside_and_an_unknown_modality_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/1.jpg", split="trian")])
    assert "split 'trian'; known: train, val, test" in (read(root)["1"].problem or "")
    root = tree(tmp_path, [line("imgs/1.jpg", pid="bob")])
    assert "line 1 has pid 'bob' and cam 1; give whole numbers" in (read(root)["1"].problem or "")
    root = tree(tmp_path, [line("imgs/1.jpg", "xray")])
    with pytest.raises(DataError, match="line 1 has the modality 'xray'; known: rgb, nir"):
        read(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "line 1: rel_path, pid, split, modality missing"),
        ("[1]", "line 1: rel_path"),
        ('{"rel_path": 1\n', "line 1: not JSON"),
        ("\n", "not a single line"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_expected_tree(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "manifest.jsonl").write_text(text)
    with pytest.raises(DataError, match=rf"manifest\.jsonl.*{message}(?s:.*)<path>/imgs/<rel>\.jpg"):
        read(tmp_path)


def test_another_tree_is_refused_with_what_was_expected_and_found(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"manifest\.jsonl is missing. Found in .*: pictures/(?s:.*)Expected"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "nowhere")
    assert reader(tmp_path).recognises() is False


@pytest.mark.parametrize(
    ("captions", "message"), [(["a"], "found list"), ({"imgs/1.jpg": [{"txt": "a"}]}, "has no text")]
)
def test_damaged_captions_are_refused(tmp_path: Path, captions: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"captions\.json.*{message}"):
        read(tree(tmp_path, [line("imgs/1.jpg")], captions))


def test_an_edited_picture_is_another_capture(tmp_path: Path) -> None:
    from reid.storage import sha256

    kept = sha256(flat_picture((1, 2, 3)))
    about: dict[str, Any] = {"sample": {"content_hash": "first"}, "sample_id": "s", "sha256": kept}
    root = tree(tmp_path, [line("imgs/1.jpg", **about)])
    assert reader(root).load(read(root)["s"], LIMIT).content_hash == "first"
    (root / "imgs/1.jpg").write_bytes(flat_picture((9, 9, 9)))
    assert reader(root).load(read(root)["s"], LIMIT).content_hash not in {"first", None}


def test_the_key_changes_with_a_caption_and_with_an_origin(tmp_path: Path) -> None:
    def key(name: str, captions: Any = None, **fields: Any) -> str:
        found = reader(tree(tmp_path / name, [line("imgs/1.jpg", **fields)], captions))
        (plan,) = plan_shards(found, {}, 10)
        _, _, *told = found.key(plan.records[0])  # without labels and files, which differ by the folder
        return json.dumps(told)

    assert key("a") == key("d")
    assert len({key("a"), key("b", {"1": "x"}), key("c", synthetic=True)}) == 3


@pytest.mark.parametrize("word", [None, "nan", float("nan"), "N/A", "unknown"])
def test_a_line_without_identity_is_set_aside_and_without_camera_kept(tmp_path: Path, word: Any) -> None:
    lines = [line("imgs/1.jpg", pid=word), line("imgs/2.jpg", cam=word), line("imgs/3.jpg", cam=2.0, pid=7.0)]
    source = reader(tree(tmp_path, lines))
    nobody, unseen, floats = source.records()
    assert nobody.problem == "manifest.jsonl line 1 has no identity; fill its pid."
    assert (unseen.labels.camid, unseen.problem) == (None, None)
    assert (floats.labels.pid, floats.labels.camid, floats.problem) == (7, 2, None)
    assert len(source.notes) == (0 if word is None else 2)


def test_numbers_that_are_spelled_in_two_ways_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"identities '007' and '7' both read as number 7"):
        read(tree(tmp_path, [line("imgs/1.jpg", pid="7"), line("imgs/2.jpg", pid="007")]))
    with pytest.raises(DataError, match=r"cameras '1' and '1\.0' both read"):
        read(tree(tmp_path, [line("imgs/1.jpg", cam=1), line("imgs/2.jpg", cam="1.0")]))


def test_captions_in_another_spelling_are_found_and_those_of_nothing_are_told(tmp_path: Path) -> None:
    said = {"imgs/E\u0301\\1.JPG": "a hat", "imgs/é/2.jpg": [None, "nan"], "imgs/x.jpg": "lost"}
    source = reader(tree(tmp_path, [line("imgs/é/1.jpg"), line("imgs/é/2.jpg")], said))
    assert [r.captions for r in source.records()] == [("a hat",), ()]
    words, case, lost = source.notes
    assert "'nan' (1) is read as empty" in words
    assert "1 keys differ in letter case" in case
    assert "1 of 3 keys is no path or id of a sample (first: 'imgs/x.jpg')" in lost


def test_a_key_that_means_two_samples_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, [line("imgs/aB.jpg"), line("imgs/Ab.jpg")], {"ab": "a hat"})
    with pytest.raises(DataError, match=r"captions\.json: the key 'ab' may mean 'aB' or 'Ab'"):
        read(root)


def test_infrared_pictures_of_others_stand_for_infrared_lines_alone(tmp_path: Path) -> None:
    tree(tmp_path, [line("imgs-ir/7/a.jpg")])
    lines = [line("7/a.jpg", modality) for modality in ("nir", "rgb")]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (record,) = read(tmp_path).values()
    assert list(record.images) == [Modality.NIR]
    assert "manifest.jsonl line 2 names 7/a.jpg, which is missing" in (record.problem or "")


def test_half_a_character_in_a_line_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, [line("imgs/7/a.jpg"), line("imgs/7/b.jpg", sample_id="b\ud83d")])
    with pytest.raises(DataError, match=r"manifest\.jsonl line 2: holds half a character"):
        read(tmp_path)


def test_folders_that_are_no_modalities_distinguish_samples(tmp_path: Path) -> None:
    tree(tmp_path, [line("cam1/0.jpg"), line("cam2/0.jpg"), line("RGB/7/0.jpg"), line("NI/7/0.jpg", "nir")])
    found = read(tmp_path)
    assert {name: record.problem for name, record in found.items()} == dict.fromkeys(
        ["cam1/0", "cam2/0", "7/0"]
    )
    assert len(found["7/0"].images) == 2
