"""Pages and evaluations for tests of reports."""

from __future__ import annotations

from html.parser import HTMLParser

import torch

from reid.evaluate.metrics.retrieval import RetrievalMetrics, rank_metrics
from reid.evaluate.report.results import Evaluation, SubsetResult


class Page(HTMLParser):
    """What a browser would see: tags with attributes, `data` values, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, field: str) -> list[float]:
        """Machine-readable numbers of one column."""
        return [float(a["value"] or "") for t, a in self.tags if t == "data" and a["class"] == field]

    def classes(self, name: str) -> list[str]:
        """Class attributes that contain a name."""
        found = [a.get("class") or "" for _, a in self.tags]
        return [value for value in found if name in value.split()]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


def metrics(seed: int, pids: int = 4) -> RetrievalMetrics:
    """Of 9 queries and 20 items with random similarities."""
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(9, 20, generator=generator)
    return rank_metrics(similarity, torch.arange(9) % (pids + 1), torch.arange(20) % pids)


def evaluation_of(*pairs: tuple[str, str], **fields: object) -> Evaluation:
    """An evaluation with a row for each pair of subsets."""
    rows = tuple(SubsetResult(q, g, metrics(i), 20) for i, (q, g) in enumerate(pairs))
    plain = {
        "run": "run-1",
        "dataset": "toy",
        "split": "test",
        "protocol": "cross_camera",
        "summary": "Find it.",
        "exclusions": (),
        "model_fingerprint": "model-abc",
        "data_fingerprint": "data-def",
        "results": rows,
    }
    return Evaluation(**{**plain, **fields})  # type: ignore[arg-type]
