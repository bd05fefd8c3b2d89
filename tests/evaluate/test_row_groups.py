"""Averages over named groups of rows: which rows a name stands for, and what the mean is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reid.config.protocols.catalogue import compose
from reid.config.protocols.query_names import parse_query
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import ConfigError
from reid.evaluate.metrics.retrieval import rank_metrics
from reid.evaluate.protocols.pairing import Pairing, anchored
from reid.evaluate.report.results import RowAverage, SubsetResult
from reid.evaluate.row_groups import resolved_groups
from reid.modality import Modality, parse_subset

RGB = (Modality.RGB,)


def rows(*names: str) -> list[Pairing]:
    found = [parse_query(name) for name in names]
    return [Pairing(q.subset, RGB, q.subset, RGB, anchor=q.anchor, samples=q.samples) for q in found]


ROWS = rows("nir", "sketch", "text", "nir+sketch@nir", "nir+sketch@sketch", "sketch*2@sketch")


def members(group: Any) -> list[str]:
    config = ProtocolConfig.model_validate({"averages": {"of interest": group}})
    return [row.name for row in resolved_groups(config.averages, ROWS)["of interest"]]


def test_a_group_is_named_rows_or_sizes_or_all() -> None:
    assert members("all") == [row.name for row in ROWS]
    assert members({"sizes": 2}) == ["nir+sketch@nir->rgb", "nir+sketch@sketch->rgb"]
    assert members({"sizes": [1, 2]}) == members("all")
    assert members({"sizes": 4}) == []
    assert members(["text->rgb", "nir"]) == ["nir->rgb", "text->rgb"]  # in the order of the report


def test_a_name_stands_for_what_it_does_not_say_and_first_for_itself() -> None:
    assert members("nir+sketch") == ["nir+sketch@nir->rgb", "nir+sketch@sketch->rgb"]
    assert members("sketch+nir@sketch->rgb") == ["nir+sketch@sketch->rgb"]
    assert members("sketch->rgb") == ["sketch->rgb"]
    assert members("sketch*2->rgb") == ["sketch*2->rgb"]


def test_a_name_that_is_no_row_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"averages\.of interest: no row is called 'text->nir'.*mean 'text->rgb'"
    ):
        members(["text->nir"])
    with pytest.raises(ConfigError, match=r"averages\.of interest: .*mean 'sketch'"):
        members("sketsh->rgb")
    with pytest.raises(ConfigError, match="not both"):
        compose({"averages": {"x": {"rows": ["nir"], "sizes": [1]}}})


def test_a_mean_is_the_plain_one_over_rows_and_empty_where_a_row_is() -> None:
    def result(query: str, positives: list[int]) -> SubsetResult:
        pids = torch.tensor(positives)
        metrics = rank_metrics(torch.eye(2), pids, torch.tensor([0, 1]))
        return SubsetResult(query, "rgb", metrics, 2)

    whole, half, empty = result("nir", [0, 1]), result("text", [1, 0]), result("sketch", [7, 8])
    mean = RowAverage.of("both", [whole, half])
    assert mean.numbers["mAP"] == pytest.approx(0.75)
    assert mean.numbers["R1"] == pytest.approx(0.5)
    assert mean.label == "mean of both (2 rows)"
    assert mean.to_dict()["rows"] == ["nir → rgb", "text → rgb"]
    assert RowAverage.of("all", [whole, empty]).numbers["mAP"] is None


def companions(pairing: Pairing, **fields: Any) -> list[str]:
    protocol = ProtocolConfig.model_validate(fields)
    return [row.name for row in anchored(pairing, protocol, named=True)]


def test_orbenchs_keys_are_each_subset_with_each_anchor() -> None:
    kinds = ("nir", "tir", "sketch", "text")
    subsets = ["+".join(k for i, k in enumerate(kinds) if bits >> i & 1) for bits in range(1, 16)]
    found = [n for s in subsets for n in companions(*rows(s), companions={"anchor": "each"})]
    assert len(found) == len(set(found)) == 4 + 12 + 12 + 4
    assert companions(*rows("nir+text"), companions={"anchor": "text"}) == ["nir+text@text->rgb"]
    assert companions(*rows("nir+text@nir"), companions={"anchor": "text"}) == ["nir+text@nir->rgb"]


def test_numbers_of_samples_are_the_protocols_or_the_rows_own() -> None:
    two = {"companions": {"samples": {"sketch": 2, "rgb": "all"}}}
    assert companions(*rows("sketch"), **two) == ["sketch*2->rgb"]
    assert companions(*rows("sketch*1"), **two) == ["sketch->rgb"]
    assert companions(*rows("sketch*all"), **two) == ["sketch*all->rgb"]
    assert companions(*rows("text"), **two) == ["text->rgb"]
    assert companions(*rows("sketch*3")) == ["sketch*3->rgb"]  # where the protocol says nothing, too


def test_a_row_without_the_anchor_and_one_of_a_pair_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"nir\+text->rgb has no sketch, on which .* hang"):
        companions(*rows("nir+text"), companions={"anchor": "sketch"})
    left = anchored(
        rows("nir+text")[0], ProtocolConfig.model_validate({"companions": {"anchor": "sketch"}}), False
    )
    assert left == []
    with pytest.raises(ConfigError, match="takes the text and sketch of a query from one photo"):
        companions(*rows("nir+text@nir"), pair={"from": "rgb"})
    assert parse_subset("nir+text") == rows("nir+text")[0].query
