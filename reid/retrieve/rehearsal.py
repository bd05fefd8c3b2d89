"""Empty queries through all that real ones pass, before the first of those: lazy parts load now."""

from __future__ import annotations

import io
import logging

from PIL import Image as PILImage

from reid.data.batches.batch_row import Parts
from reid.errors import AnyReIDError
from reid.modality import Modality, parse_subset, subset_name
from reid.retrieve.answers import SearchQuery
from reid.retrieve.retriever import Retriever

log = logging.getLogger(__name__)

SENTENCE = "a person"
MODES = {8: "L", 16: "I;16"}
"""Of Pillow, by the bits of a pixel."""


def rehearse(retriever: Retriever) -> list[str]:
    """Ask by each modality that can be asked alone and by the most that can be asked together, once.

    The first search of a kind loads kernels, tokens and generators, which takes seconds; nobody's search
    should. Queries are black pictures and a sentence. Returns the subsets that were answered; what fails is
    logged, since real queries may not.
    """
    data = retriever.run.config.data
    answerable = sorted(map(parse_subset, retriever.answerable()), key=len)
    answered = []
    for subset in dict.fromkeys(subset_name(s) for s in answerable if len(s) in (1, len(answerable[-1]))):
        parts = blank_parts(subset, data.height, data.width)
        try:
            retriever.search_many([SearchQuery(parts, k=1)])
        except AnyReIDError as error:
            log.warning("a search by an empty %s failed: %s", subset, error)
            continue
        answered.append(subset)
    return answered


def blank_parts(subset: str, height: int, width: int) -> Parts:
    """Black pictures of this size in pixels, and a sentence.

    >>> sorted(m.value for m in blank_parts("rgb+text", 4, 2))
    ['rgb', 'text']
    """
    return {m: _picture(m, height, width) if m.is_visual else SENTENCE for m in parse_subset(subset)}


def _picture(modality: Modality, height: int, width: int) -> bytes:
    stream = io.BytesIO()
    PILImage.new(MODES[modality.entry.bits], (width, height)).save(stream, "PNG")
    return stream.getvalue()
