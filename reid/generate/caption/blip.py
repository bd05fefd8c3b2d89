"""Plain captions: the text of a captioning model, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reid.errors import DataError
from reid.generate.caption.vision_language import DType, VisionLanguage
from reid.generate.registry import Generated, GeneratedCaption, GeneratorInput, learned_generator
from reid.modality import CAMERA, Target


@learned_generator(
    "cap_blip",
    Target.TEXT,
    needs_weights=True,
    reads=CAMERA,
    license_note="as the model's card says (BLIP's published weights are BSD-3-Clause)",
)
class CapBlip:
    """BLIP, GIT or any other image-text-to-text model of `transformers`, with greedy decoding.

    It describes the RGB picture, or the first present modality. The confidence is the mean probability of the
    caption's tokens. `prompt` is the beginning of the caption, or the request to a chat model.
    """

    def __init__(
        self,
        *,
        weights: str,
        device: str = "cpu",
        prompt: str = "",
        max_tokens: Annotated[int, Field(ge=4, le=256)] = 60,
        dtype: DType = "auto",
        download: bool = False,
    ) -> None:
        """Raises WeightsError when the model is missing or of another kind."""
        self.model = VisionLanguage(weights, device, dtype, download)
        self.prompt, self.max_tokens = prompt, max_tokens

    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        """One caption for each source, from one call of the model; a DataError where the text is empty."""
        pictures = [next(s.images[m] for m in CAMERA if m in s.images) for s in sources]
        texts = self.model.write(pictures, [self.prompt] * len(pictures), self.max_tokens)
        return [
            GeneratedCaption(text, sure)
            if text
            else DataError(f"{s.name}: cap_blip: the model returned an empty text.")
            for s, (text, sure) in zip(sources, texts, strict=True)
        ]
