"""Similarity histograms: every pair that counts, once, whatever the chunk."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid.evaluate.evaluator import embedding_tasks, score_pairing
from reid.evaluate.metrics.comparing import cosine
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, QueryPart
from reid.evaluate.protocols.label_arrays import LabelArrays, label_arrays_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import get_protocol
from reid.evaluate.report.similarity_histograms import count_similarities, similarities
from reid.modality import Modality
from tests.support.retrieval.evaluation_rows import row


def sides(queries: list[int], gallery: list[int]) -> tuple[LabelArrays, LabelArrays]:
    """Labels of items with these identities."""
    rows = [row(f"s{i}", pid) for i, pid in enumerate([*queries, *gallery])]
    parts = [{Modality.RGB: QueryPart(r.sample_id)} for r in rows]
    asked = [ProtocolQuery(f"q{i}", pid, None, None, parts[i]) for i, pid in enumerate(queries)]
    found = [GalleryItem(f"g{i}", pid, None, parts[len(queries) + i]) for i, pid in enumerate(gallery)]
    return label_arrays_of(asked, found, rows)


def given(similarity: Tensor, seen: list[int] | None = None):  # type: ignore[no-untyped-def]
    """A comparison that reads a matrix, and notes how many rows are asked for at a time."""

    def compare(rows: slice) -> Tensor:
        if seen is not None:
            seen.append(len(similarity[rows]))
        return similarity[rows]

    return compare


def test_pairs_fall_into_the_bin_of_their_similarity() -> None:
    similarity = torch.tensor([[0.0, 0.3, 1.0], [0.9, 0.6, 0.1]])
    found = count_similarities(given(similarity), *sides([7, 8], [7, 8, 9]), bins=4)
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.positives == (1, 0, 1, 0)  # 0.0 of identity 7, 0.6 of identity 8
    assert found.negatives == (1, 1, 0, 2)  # 0.1, 0.3, then 0.9 and 1.0


def test_excluded_pairs_are_in_no_bin_and_do_not_stretch_the_range() -> None:
    similarity = torch.tensor([[-5.0, 0.3, 1.0]])
    drop = torch.tensor([[True, False, False]])
    found = count_similarities(given(similarity), *sides([7], [7, 7, 9]), lambda q, g: drop, bins=2)
    assert found.low == torch.tensor(0.3).item()
    assert (found.positives, found.negatives) == ((1, 0), (0, 1))


def test_chunks_give_the_same_counts_and_never_more_rows_at_once() -> None:
    torch.manual_seed(0)
    q, g = torch.randn(11, 6), torch.randn(9, 6)
    both = sides([i % 4 for i in range(11)], [i % 4 for i in range(9)])
    seen: list[int] = []
    similarity = cosine(q, g)(slice(None))
    whole = count_similarities(given(similarity), *both)
    parts = count_similarities(given(similarity, seen), *both, chunk=3)
    assert parts == whole
    assert max(seen) == 3
    assert sum(whole.positives) + sum(whole.negatives) == 99


def test_without_pairs_or_without_spread_there_is_still_a_range() -> None:
    everything = count_similarities(given(torch.ones(1, 2)), *sides([1], [1, 2]), bins=3)
    assert everything.low < 1 < everything.high
    assert (sum(everything.positives), sum(everything.negatives)) == (1, 1)
    none = count_similarities(given(torch.ones(1, 1)), *sides([1], [1]), lambda q, g: torch.tensor([[True]]))
    assert (none.low, none.high, sum(none.positives)) == (0.0, 1.0, 0)


def test_of_many_pairs_those_of_evenly_spaced_queries_are_counted_and_told() -> None:
    labels = label_table_of(row(f"s{n}", n // 2, n % 2) for n in range(40))
    protocol, pairing = get_protocol("all"), Pairing(*[(Modality.RGB,)] * 4)
    features = {
        task.key: np.random.default_rng(n).standard_normal(4).astype(np.float32)
        for n, task in enumerate(embedding_tasks(protocol, labels, [pairing]))
    }
    scored = score_pairing(protocol, labels, pairing, features)
    whole = similarities(protocol, scored, "rgb")
    some = similarities(protocol, scored, "rgb", most=5 * 40)
    assert (whole.of_queries, some.of_queries) == (None, (5, 40))
    assert sum(some.positives) == 5  # each query's other capture
    assert "of_queries" not in whole.to_dict() and some.to_dict()["of_queries"] == [5, 40]
