"""docs/write-a-protocol.md and protocols.md: their YAML and Python, evaluated on a few labels."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from torch import Tensor

from reid.config.protocols.catalogue import PROTOCOLS, compose
from reid.config.protocols.rule_names import RULE_WORDS
from reid.errors import ConfigError
from reid.evaluate.evaluator import PairingScores, embedding_tasks, score_pairing
from reid.evaluate.protocols.exclusion_rules import RULES, rule, same_sample
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.pairing import Pairing, anchored, make_pairing
from reid.evaluate.protocols.protocol import get_protocol
from reid.evaluate.row_groups import resolved_groups
from reid.modality import Modality, all_subsets
from tests.support.pages import DOCS, block, blocks
from tests.support.retrieval.evaluation_rows import row
from tests.support.retrieval.pairwise_rule import space_rule
from tests.support.tiny_configs import config_of

PAGE, SAMPLES = "write-a-protocol.md", "protocols.md"
RGB = (Modality.RGB,)
LABELS = [
    row(f"{pid}/{camid}/{n}", pid, camid, viewid=camid % 2)
    for pid in (0, 1)
    for camid in range(4)
    for n in (0, 1)
]
"""Two identities, four cameras of two views, two pictures each."""


def evaluated(name: object, labels: list[SampleLabels] = LABELS) -> PairingScores:
    """A protocol of a configuration on random vectors."""
    protocol = get_protocol(compose(name))
    asked = make_pairing(RGB, (RGB,), space_rule(RGB))
    draw = np.random.default_rng(0)
    features = {
        w.key: draw.standard_normal(4).astype(np.float32) for w in embedding_tasks(protocol, labels, [asked])
    }
    return score_pairing(protocol, labels, asked, features)


@pytest.fixture
def _other_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's Python as a script of one's own; what it registers is taken back."""
    tables = (RULE_WORDS, RULES, PROTOCOLS)
    before = [dict(table) for table in tables]
    (tmp_path / "own_protocols.py").write_text(block(PAGE, "python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("own_protocols")
    yield
    sys.modules.pop("own_protocols")
    for table, known in zip(tables, before, strict=True):
        table.clear()
        table.update(known)


def test_the_yaml_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    section = yaml.safe_load(blocks(PAGE, "yaml")[0])["evaluate"]
    settings = config_of(tmp_path, f"evaluate.protocol={section['protocol']}", "evaluate.subsets=[rgb]")
    protocol = get_protocol(settings.evaluate.protocol)
    assert protocol.name == "first_cameras"
    assert "Changed: " in protocol.summary and "gallery.cameras=[0, 1]" in protocol.summary
    found = evaluated(section["protocol"])
    assert {item.camid for item in found.gallery.items} == {0, 1}
    assert len(found.queries.items) == len(LABELS)
    assert set(found.metrics.positives.tolist()) == {2, 4}  # a query's own camera may be one of the two


def test_the_yaml_of_companions_asks_for_each_anchor_and_its_groups_have_rows(tmp_path: Path) -> None:
    section = yaml.safe_load(blocks(SAMPLES, "yaml")[0])["evaluate"]
    protocol = get_protocol(compose(section["protocol"]))
    nir, sketch, text = Modality.NIR, Modality.SKETCH, Modality.TEXT
    asked = [
        row
        for subset in all_subsets([nir, sketch, text])
        for row in anchored(Pairing(subset, RGB, subset, RGB), protocol.config, named=False)
    ]
    assert len(asked) == 3 + 2 * 3 + 3
    groups = resolved_groups(protocol.config.averages, asked)
    assert {name: len(rows) for name, rows in groups.items()} == {"all rows": 12, "two parts": 6, "drawn": 2}
    rows = re.search(r"evaluate\.subsets='(\[.*?\])'", (DOCS / SAMPLES).read_text(encoding="utf-8"))
    assert rows is not None
    settings = config_of(tmp_path, f"evaluate.subsets={rows[1]}")
    assert settings.evaluate.subsets == ("nir+sketch@sketch->rgb", "rgb*3")


def test_the_command_line_changes_one_field(tmp_path: Path) -> None:
    (override,) = re.findall(r"`(evaluate\.protocol\.\S+)`", (DOCS / PAGE).read_text(encoding="utf-8"))
    protocol = get_protocol(config_of(tmp_path, override).evaluate.protocol)
    assert protocol.config.extends == "cross_camera" and protocol.config.gallery.cameras == (0, 1)


@pytest.mark.usefixtures("_other_views")
def test_the_registered_protocol_drops_the_querys_view_and_draws_galleries(tmp_path: Path) -> None:
    settings = config_of(tmp_path, "evaluate.protocol=other_views")
    found = evaluated(settings.evaluate.protocol)
    assert [len(draw) for draw in found.draws] == [2 * 4] * 5  # identities times cameras, one picture each
    assert set(found.metrics.positives.tolist()) == {2}  # the two cameras of the other view
    words = get_protocol("other_views").exclusions
    assert "items of the same identity from the query's view, where known" in words


@pytest.mark.usefixtures("_other_views")
def test_an_unknown_view_equals_nothing() -> None:
    blind = [replace(sample, viewid=None) for sample in LABELS]
    assert set(evaluated("other_views", blind).metrics.candidates.tolist()) >= {7, 8}


def test_a_rule_without_words_says_where_they_belong() -> None:
    def no_words(q: LabelArrays, g: LabelArrays) -> Tensor:
        return same_sample(q, g)

    with pytest.raises(ConfigError, match=r"'no_words' has no words.*config/protocols/rule_names\.py"):
        rule()(no_words)
    assert "no_words" not in RULES
