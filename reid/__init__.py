"""AnyReID's library: PyTorch + Arrow + Pillow. Never imports ray, pipelines or jobs.

What most programs need is here, and is imported when it is first used:

    run = reid.load("runs/train/mine")              a trained embedder
    vector = run.embed("a.jpg")                     of a picture, a sentence, or several modalities
    run.compare("a.jpg", "b.jpg")                   how alike two captures are, and what that means
    retriever = reid.Retriever.open(run, gallery)
    hits = retriever.search({"rgb": "a.jpg", "text": "a red coat"}, k=5)
    reid.show(hits)                                 a figure in a notebook, a file elsewhere
    data = reid.open_shards("runs/shards/mine")     the samples of a built set
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from reid.errors import AnyReIDError
    from reid.gallery.store import Gallery
    from reid.modality import Modality
    from reid.retrieve.figure import show
    from reid.retrieve.retriever import Retriever
    from reid.runs.run import Run
    from reid.runs.run import load_run as load
    from reid.train.shard_data import open_shards

__all__ = [
    "AnyReIDError",
    "Gallery",
    "Modality",
    "Retriever",
    "Run",
    "__version__",
    "load",
    "open_shards",
    "show",
]

_HOMES = {
    "AnyReIDError": "reid.errors:AnyReIDError",
    "Gallery": "reid.gallery.store:Gallery",
    "Modality": "reid.modality:Modality",
    "Retriever": "reid.retrieve.retriever:Retriever",
    "Run": "reid.runs.run:Run",
    "load": "reid.runs.run:load_run",
    "open_shards": "reid.train.shard_data:open_shards",
    "show": "reid.retrieve.figure:show",
}


def __getattr__(name: str) -> Any:
    """What is public, imported at its first use: `import reid` itself loads nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'reid' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    module, _, attribute = home.partition(":")
    found = globals()[name] = getattr(importlib.import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
