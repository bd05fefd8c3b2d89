"""Build: bad files are set aside with reasons, finished work is kept, and nothing half-done is published."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.dataset.build import BuildResult, describe_build
from reid.data.shards.manifest import MANIFEST
from reid.errors import ConfigError, DataError
from reid.modality import Modality
from tests.support.sets.photos import BAD, config, jpeg, photos, quiet_build, rows_of
from tests.support.tiny_configs import config_of

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "in")


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> BuildResult:
    return quiet_build(config(folder, tmp_path_factory.mktemp("work")))


def test_good_rows_are_built_and_bad_ones_set_aside_with_the_file_and_the_reason(result: BuildResult) -> None:
    good = {s.labels.sample_id for split in ("train", "test") for s in rows_of(result.shards, split)}
    assert good == {*(f"{pid}_{number}.jpg" for pid in range(4) for number in range(2)), "4_0.jpg"}
    table = pq.read_table(Path(result.shards.root) / "quarantine.parquet").to_pylist()
    assert table == result.shards.quarantine()
    reasons = {row["sample_id"]: row for row in table}
    assert set(reasons) == {*BAD, "unknown.jpg"}
    for name, words in BAD.items():
        assert name in reasons[name]["reason"]
        assert words in reasons[name]["reason"]
        assert reasons[name]["stage"] == "read"
        assert [Path(f).name for f in reasons[name]["files"]] in ([name], [])
    assert result.shards.manifest.quarantined == 5
    assert any("5 of 14 rows were set aside" in w for w in result.warnings)


def test_a_row_of_an_unknown_identity_is_set_aside_and_does_not_stop_the_build(result: BuildResult) -> None:
    (row,) = [r for r in result.shards.quarantine() if r["sample_id"] == "unknown.jpg"]
    assert row["pid"] == -1
    assert "pid" in row["reason"]
    assert all(pid >= 0 for split in ("train", "test") for _, pid in result.shards.identities(split))


def test_rows_are_sorted_by_identity_and_no_identity_is_cut(result: BuildResult) -> None:
    for split in ("train", "test"):
        pids = [s.labels.pid for s in rows_of(result.shards, split)]
        assert pids == sorted(pids)
        per_group = [{pid for _, pid, _ in g.identities} for g in result.shards.groups(split)]
        assert sum(map(len, per_group)) == len(set(pids))


def test_generated_images_carry_where_they_come_from(result: BuildResult) -> None:
    settings = result.shards.manifest.generators["sketch"]
    for sample in rows_of(result.shards, "train"):
        made, taken = sample.images[Modality.SKETCH], sample.images[Modality.RGB]
        assert (made.origin, made.generator) == ("generated", "sketch_dodge")
        assert made.params_hash == settings["params_hash"]
        assert made.source_id == sample.labels.sample_id
        assert (taken.origin, taken.generator, taken.source_id) == ("captured", None, None)
    assert settings["params"]["sigma"] == 2.0


def test_a_second_build_does_nothing_and_leaves_the_manifest_alone(result: BuildResult, folder: Path) -> None:
    manifest = Path(result.shards.root) / MANIFEST
    before = manifest.stat().st_mtime_ns
    again = quiet_build(config(folder, Path(result.shards.root).parent, "build.concurrency=1"))
    assert (again.built, again.reused) == (0, result.built)
    assert manifest.stat().st_mtime_ns == before
    assert again.shards.manifest == result.shards.manifest


def test_a_changed_parameter_of_a_generator_makes_its_images_anew(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = quiet_build(config(root, tmp_path))
    before = rows_of(first.shards, "train")[0].images[Modality.SKETCH]
    second = quiet_build(config(root, tmp_path, "build.generate.sketch.params.sigma=4.0"))
    after = rows_of(second.shards, "train")[0].images[Modality.SKETCH]
    assert (second.built, second.reused) == (first.built, 0)
    assert second.shards.fingerprint != first.shards.fingerprint
    assert after.params_hash != before.params_hash
    assert after.image != before.image


def test_a_build_killed_between_shards_redoes_only_what_is_missing(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = quiet_build(config(root, tmp_path))
    assert first.built == 3
    data = Path(first.shards.root) / "data"
    (Path(first.shards.root) / MANIFEST).unlink()
    sorted(data.glob("*.json"))[0].unlink()
    kept = {p: p.stat().st_mtime_ns for p in sorted(data.glob("*.parquet"))}
    second = quiet_build(config(root, tmp_path))
    assert (second.built, second.reused) == (1, 2)
    assert second.shards.fingerprint == first.shards.fingerprint
    assert sum(p.stat().st_mtime_ns != before for p, before in kept.items()) == 1


@pytest.mark.parametrize("loss", ["missing", "cut short"])
def test_a_shard_that_is_not_there_whole_is_built_again(tmp_path: Path, loss: str) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = quiet_build(config(root, tmp_path))
    victim = sorted((Path(first.shards.root) / "data").glob("*.parquet"))[0]
    whole = victim.read_bytes()
    if loss == "missing":
        victim.unlink()
    else:
        victim.write_bytes(whole[:100])
    assert quiet_build(config(root, tmp_path)).built == 1
    assert victim.read_bytes() == whole


def test_a_rewritten_picture_redoes_its_shard_only(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    quiet_build(config(root, tmp_path))
    (root / "0_0.jpg").write_bytes(jpeg(1234, (40, 40)))
    again = quiet_build(config(root, tmp_path))
    assert (again.built, again.reused) == (1, 2)
    assert rows_of(again.shards, "train")[0].images[Modality.RGB].width == 40


def test_too_many_bad_rows_publish_nothing_and_lose_nothing(folder: Path, tmp_path: Path) -> None:
    strict = config(folder, tmp_path, "build.max_bad_fraction=0.1")
    with pytest.raises(DataError, match=r"5 of 14 rows are bad.*max_bad_fraction=0.1.*nothing is published"):
        quiet_build(strict)
    root = tmp_path / "set"
    assert not (root / MANIFEST).exists()
    assert len(list((root / "data").glob("*.parquet"))) == describe_build(strict)["planned"]
    lenient = quiet_build(config(folder, tmp_path, "build.max_bad_fraction=0.5"))
    assert lenient.built == 0
    assert lenient.shards.rows("train") == 6


def test_only_bad_rows_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "in/7").mkdir(parents=True)
    (tmp_path / "in/7/a.jpg").write_bytes(b"")
    settings = config(tmp_path / "in", tmp_path, "data.reader.manifest=null", "build.max_bad_fraction=1.0")
    with pytest.raises(DataError, match=r"All 1 rows are bad.*a\.jpg: empty file"):
        quiet_build(settings)


def test_an_identity_left_with_one_image_is_a_warning(folder: Path, tmp_path: Path) -> None:
    root = photos(tmp_path / "in", identities=5, bad=False)
    assert quiet_build(config(root, tmp_path)).warnings == [
        "1 identities of split test have a single image: they cannot be found again."
    ]
    (root / "0_1.jpg").write_bytes(b"")  # one more is left alone by a bad file
    warnings = quiet_build(config(root, tmp_path)).warnings
    assert "1 identities of split train have a single image: they cannot be found again." in warnings


def test_an_empty_data_set_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no picture in an identity folder") as caught:
        quiet_build(config(tmp_path / "in", tmp_path, "data.reader.manifest=null"))
    assert "<path>/<identity>/<files>" in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_wrong_generator_parameter_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"build\.generate\.sketch\.params\.sigm: .*'sigma'"):
        quiet_build(config_of(tmp_path, "build.generate.sketch.params.sigm=1"))
    assert not (tmp_path / "shards").exists()
