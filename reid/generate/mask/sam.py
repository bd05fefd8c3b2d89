"""Object masks by a promptable segmenter, with a rule for pictures in which it finds none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from reid.config import GenerateConfig
from reid.errors import DataError
from reid.generate.mask.candidates import Fuse, choose_candidate, fuse_masks, resize_mask
from reid.generate.mask.prompts import Subject, prompt_for
from reid.generate.mask.segmenters import load_segmenter
from reid.generate.registry import Generated, GeneratedMask, GeneratorInput, bind, learned_generator
from reid.modality import CAMERA, PHOTO, Modality, Target

Share = Annotated[float, Field(ge=0, le=1)]


@learned_generator(
    "mask_sam",
    Target.MASK,
    needs_weights=True,
    reads=CAMERA,
    license_note="segment-anything's and SAM 2's published weights are Apache-2.0; others as their cards say",
)
class MaskSam:
    """SAM by `segment-anything` (a checkpoint file) or by `transformers` (a folder, a Hugging Face name).

    One mask a capture, of the size of its RGB picture. `fuse=first` asks RGB, then NIR, then TIR until a mask
    fits; the others ask all and take the best score, the union or the majority. Where none fits, `otherwise`
    decides: `prior` makes the mask of `mask_prior` with a score of 0, `set_aside` sets the row aside.
    Source: STMI (arXiv 2603.00695), masks; the prompting is ours.
    """

    def __init__(
        self,
        *,
        weights: str,
        device: str = "cpu",
        subject: Subject = "person",
        fuse: Fuse = "first",
        otherwise: Literal["prior", "set_aside"] = "prior",
        inset: Annotated[float, Field(ge=0, lt=0.5)] = 0.03,
        smallest: Share = 0.08,
        largest: Share = 0.85,
        download: bool = False,
    ) -> None:
        """Raises WeightsError when the weights are missing or of another kind."""
        self.segment = load_segmenter(weights, device, download)
        self.subject, self.fuse, self.inset = subject, fuse, inset
        self.smallest, self.largest = smallest, largest
        self.prior = (
            bind(Target.MASK, GenerateConfig(generator="mask_prior")) if otherwise == "prior" else None
        )

    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        """One mask a source, or a DataError; the segmenter sees one modality of all sources at a time."""
        found: list[list[GeneratedMask]] = [[] for _ in sources]
        for modality in CAMERA:
            unmasked = [
                i
                for i, source in enumerate(sources)
                if modality in source.images and not (self.fuse == "first" and found[i])
            ]
            for i, mask in zip(unmasked, self._ask([sources[i] for i in unmasked], modality), strict=True):
                if mask is not None:
                    found[i].append(resize_mask(mask, *_shape(sources[i])))
        return [
            fuse_masks(masks, self.fuse) if masks else self._none(s)
            for masks, s in zip(found, sources, strict=True)
        ]

    def _ask(self, sources: Sequence[GeneratorInput], modality: Modality) -> list[GeneratedMask | None]:
        if not sources:
            return []
        pictures = [s.images[modality] for s in sources]
        prompts = [prompt_for(p.shape[0], p.shape[1], self.subject, self.inset) for p in pictures]
        return [
            choose_candidate(*out, self.smallest, self.largest) for out in self.segment(pictures, prompts)
        ]

    def _none(self, source: GeneratorInput) -> Generated:
        if self.prior is None:
            tried = ", ".join(m.value for m in CAMERA if m in source.images)
            return DataError(f"{source.name}: mask_sam found no mask that fits (tried {tried}).")
        first = next(source.images[m] for m in CAMERA if m in source.images)
        (made,) = self.prior.load()([replace(source, images={PHOTO: first}, mask=None)])
        return GeneratedMask(made.mask, 0.0) if isinstance(made, GeneratedMask) else made


def _shape(source: GeneratorInput) -> tuple[int, int]:
    """Height and width of the picture that the mask belongs to: RGB, or the first that is there."""
    height, width = next(source.images[m] for m in CAMERA if m in source.images).shape[:2]
    return height, width
