"""From a folder to a configuration: what is chosen, what is said of it, and that every verb would take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reid.config import Config, load
from reid.doctor.configuration.proposal import Proposal, check_target, propose
from reid.errors import UsageError
from tests.support.sets.healthy import by_code
from tests.support.sets.own_folders import (
    described,
    identities,
    one_split,
    photo,
    sentence,
    splits_and_modalities,
    table,
)

STEPS = ["build", "train", "evaluate", "index", "search", "serve"]


def proposed(folder: Path, *given: str) -> tuple[Proposal, Config]:
    """The proposal for a folder, and what its text is when it is loaded."""
    file = folder.parent / "mine.yaml"
    proposal = propose(str(folder), str(file), given=given)
    assert proposal.text is not None
    file.write_text(proposal.text, "utf-8")
    return proposal, load(str(file))


def verbs(proposal: Proposal) -> list[str]:
    return [c.split()[2].removeprefix("jobs.") for c in proposal.commands]


def test_identity_folders_are_cut_and_need_no_camera(tmp_path: Path) -> None:
    proposal, config = proposed(identities(tmp_path / "people"))
    assert proposal.report.ok and proposal.notes == () and verbs(proposal) == STEPS
    assert config.name == config.data.name == "people"
    assert proposal.report.counts["train"]["all"]["identities"] == 6
    assert (config.data.height, config.data.width) == (64, 32)
    assert [m.value for m in config.data.modalities] == ["rgb"]
    assert config.evaluate.gallery == "rgb" and config.index.subsets == ("rgb",)
    assert "--rgb" in proposal.commands[4] and "/people/" in proposal.commands[4]
    assert proposal.commands[0] == f"python -m jobs.build --config {tmp_path}/mine.yaml"


def test_a_model_of_laptop_size_is_trained_for_minutes(tmp_path: Path) -> None:
    config = proposed(identities(tmp_path / "people", count=30))[1]
    assert config.model.name == "baseline" and config.train.workers == config.evaluate.actors == 0
    steps = config.train.steps_per_epoch or 20
    assert 100 <= config.train.epochs * steps <= 600
    assert config.train.batch.identities == 11 and config.train.batch.instances == 4


@pytest.mark.parametrize("split", ["train", "test", "Training"])
def test_a_single_split_is_cut_into_two(tmp_path: Path, split: str) -> None:
    proposal, config = proposed(one_split(tmp_path / "people", split))
    assert proposal.report.ok and verbs(proposal) == STEPS
    assert {s: n["all"]["identities"] for s, n in proposal.report.counts.items()} == {"train": 6, "test": 6}
    assert f"here {split.lower()} stands for no split" in str(proposal.text).replace("\n    # ", " ")
    reader: Any = config.data.reader
    assert reader.roles[split.lower()].split is None


def test_a_table_with_one_role_is_cut_into_two(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"file": f"{p}_{n}.jpg", "pid": p, "role": "gallery", "number": n} for p in range(8) for n in range(3)
    ]
    proposal = proposed(table(tmp_path / "shop", rows))[0]
    assert proposal.report.ok and verbs(proposal) == STEPS
    assert {s: n["all"]["identities"] for s, n in proposal.report.counts.items()} == {"train": 4, "test": 4}


def test_sentences_beside_the_photos_can_ask(tmp_path: Path) -> None:
    proposal, config = proposed(described(tmp_path / "people"))
    assert [m.value for m in config.data.modalities] == ["rgb", "text"]
    assert config.evaluate.subsets == ("rgb", "text", "rgb+text")
    assert verbs(proposal) == [*STEPS[:4], "search", "search", "serve"]
    assert any("--text 'a " in c for c in proposal.commands)
    assert "# this file describes identities in sentences" in str(proposal.text)


def test_queries_of_words_alone_ask_for_photos(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for pid in range(12):
        split = "train" if pid < 8 else "gallery"
        for n in range(3):
            caption = sentence(pid) if split == "train" else ""
            rows.append(
                {"file": f"{pid}_{n}.jpg", "pid": pid, "split": split, "caption": caption, "number": n}
            )
        if split == "gallery":
            rows.append({"file": "", "pid": pid, "split": "query", "caption": sentence(pid)})
    proposal, config = proposed(table(tmp_path / "words", rows))
    assert proposal.report.ok and verbs(proposal) == STEPS
    assert config.evaluate.subsets == ("text",) and "--text" in proposal.commands[4]


def test_a_photo_with_its_sentence_for_each_identity_is_found_by_it(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"file": f"{p}.jpg", "pid": p, "caption": sentence(p)} for p in range(24)
    ]
    proposal, config = proposed(table(tmp_path / "pairs", rows))
    assert proposal.report.ok and verbs(proposal)[:4] == STEPS[:4]
    assert config.evaluate.protocol == config.train.val.protocol == "text_to_image"
    assert config.evaluate.subsets == ("text",)


def test_cameras_in_file_names_are_found(tmp_path: Path) -> None:
    proposal, config = proposed(splits_and_modalities(tmp_path / "mine", cameras=2))
    reader: Any = config.data.reader
    assert reader.camera_pattern and "# file names tell the camera" in str(proposal.text)
    assert (
        proposal.report.counts["test"]["all"]["cameras"] == 2 and proposal.report.protocol == "cross_camera"
    )
    assert config.evaluate.subsets == ("rgb", "nir", "rgb+nir")


def test_words_that_the_reader_does_not_know_are_settled_and_told(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for pid in range(8):
        for n, role in enumerate(("train", "train", "gallery", "query", "studio")):
            modality = "studio" if role == "studio" else "rgb"
            row = {"file": f"{pid}_{n}.jpg", "pid": pid, "role": role, "modality": modality, "number": n}
            rows.append(dict(row))
    proposal, config = proposed(table(tmp_path / "shop", rows))
    assert proposal.report.ok, by_code(proposal.report.findings)
    assert proposal.report.counts["test"]["query"]["captures"] == 16
    assert "# 'studio' (8 rows) is no known split or role: taken as queries" in str(proposal.text)
    reader: Any = config.data.reader
    assert reader.modality_names["studio"].value == "rgb"


def test_a_sketch_that_only_queries_have_is_made_for_training(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for pid in range(8):
        for n, (split, modality) in enumerate(
            [("train", "rgb"), ("train", "rgb"), ("gallery", "rgb"), ("query", "sketch")]
        ):
            row = {"file": f"{pid}_{n}.png", "pid": pid, "split": split, "modality": modality, "number": n}
            rows.append(dict(row))
    proposal, config = proposed(table(tmp_path / "witness", rows))
    assert proposal.report.ok, by_code(proposal.report.findings)
    assert [m.value for m in config.data.modalities] == ["rgb", "sketch"]
    assert {t.value: g.generator for t, g in config.build.generate.items()} == {"sketch": "sketch_mix"}
    assert config.evaluate.subsets == ("sketch",)


def test_thermal_queries_that_nothing_was_trained_on_are_left_out_and_told(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for pid in range(8):
        for n, (split, modality) in enumerate(
            [("train", "rgb"), ("train", "rgb"), ("gallery", "rgb"), ("query", "rgb"), ("query", "tir")]
        ):
            row = {"file": f"{pid}_{n}.png", "pid": pid, "split": split, "modality": modality, "number": n}
            rows.append(dict(row))
    proposal, config = proposed(table(tmp_path / "night", rows))
    assert [m.value for m in config.data.modalities] == ["rgb"]
    assert "# tir occurs in no training row and is left out" in str(proposal.text)
    assert proposal.report.ok and config.evaluate.subsets == ("rgb",)


def test_few_identities_are_all_trained_on_and_the_file_says_so(tmp_path: Path) -> None:
    proposal, config = proposed(identities(tmp_path / "few", count=6))
    assert config.train.val.fraction == 0
    assert "# 3 training identities: too few to hold out any" in str(proposal.text)


def test_enough_identities_are_held_out(tmp_path: Path) -> None:
    config = proposed(identities(tmp_path / "many", count=30, captures=2))[1]
    assert config.train.val.fraction == pytest.approx(4 / 15, abs=0.001)
    assert [m.value for m in config.train.val.gallery] == ["rgb"]


def test_one_identity_cannot_be_trained_and_that_is_said(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / "alone" / "bob" / f"{number}.jpg", 1, number)
    proposal = proposed(tmp_path / "alone")[0]
    assert verbs(proposal) == ["build"]
    assert "Nothing can be trained" in proposal.notes[0]
    assert "# Nothing can be trained" in str(proposal.text)


def test_single_captures_are_trained_and_searched_but_not_evaluated(tmp_path: Path) -> None:
    proposal = proposed(identities(tmp_path / "single", captures=1))[0]
    assert "evaluate" not in verbs(proposal) and "search" in verbs(proposal)
    assert "`evaluate` is left out" in proposal.notes[0] and "one capture only" in proposal.notes[0]


def test_a_cut_is_chosen_that_leaves_someone_to_find(tmp_path: Path) -> None:
    for pid in range(8):
        for number in range(2 if pid == 3 else 1):
            photo(tmp_path / "rare" / f"{pid}" / f"{number}.jpg", pid, number)
    proposal = proposed(tmp_path / "rare")[0]
    assert "evaluate" in verbs(proposal)
    assert proposal.report.counts["test"]["all"]["captures"] == 5


def test_what_is_given_wins(tmp_path: Path) -> None:
    given = ("train.epochs=2", "workdir=/tmp/elsewhere", "data.reader.test_fraction=0.25")
    proposal, config = proposed(identities(tmp_path / "people"), *given)
    assert config.train.epochs == 2 and config.workdir == "/tmp/elsewhere"
    assert proposal.report.counts["test"]["all"]["identities"] == 3
    assert "minutes on a laptop" not in str(proposal.text)


@pytest.mark.parametrize("name", ["grocery", "tno"])
def test_real_photos_are_ready_for_every_verb(data_root: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.yaml"
    proposal = propose(str(data_root / name), str(file))
    file.write_text(str(proposal.text), "utf-8")
    load(str(file))
    assert proposal.report.ok and proposal.notes == ()
    assert [v for v in verbs(proposal) if v != "search"] == [v for v in STEPS if v != "search"]


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    there = tmp_path / "mine.yaml"
    there.write_text("precious")
    with pytest.raises(UsageError, match=r"is there already.*--force"):
        check_target(str(there), force=False)
    check_target(str(there), force=True)


@pytest.mark.parametrize("name", ["mine", "s3://bucket/mine.yaml", "mine.json"])
def test_a_name_that_no_verb_would_read_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"local file.*\.yaml"):
        check_target(name, force=True)
