"""Captions by a vision-language model: attributes from closed sets, merged over the modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from reid.data.images import Pixels
from reid.data.shards.schema import SampleAttribute
from reid.errors import DataError
from reid.generate.caption.attribute_files import load_schema
from reid.generate.caption.attribute_question import (
    attribute_prompt,
    parse_answer,
    read_constrained_answer,
    retry_prompt,
)
from reid.generate.caption.constrained_decoding import HeldToGrammar, Measure
from reid.generate.caption.grammar import Vocabulary, json_grammar
from reid.generate.caption.merging import (
    above_confidence,
    fitting_sentence,
    merge_attributes,
    sentence_faults,
)
from reid.generate.caption.views import ALL, views
from reid.generate.caption.vision_language import DType, VisionLanguage
from reid.generate.registry import Generated, GeneratedCaption, GeneratorInput, learned_generator
from reid.modality import CAMERA, Target

Weight = Annotated[float, Field(ge=0, le=10)]
_ANSWER_TOKENS = 40
"""Room for one attribute of a free answer."""
_SENTENCE_TOKENS = 120


@learned_generator(
    "cap_vlm",
    Target.TEXT,
    needs_weights=True,
    reads=CAMERA,
    license_note="as the model's card says; its texts may fall under the model's licence too",
)
class CapVlm:
    """Any image-text-to-text model of `transformers`, with prompts for the attributes of a schema.

    The model gets each modality alone and all side by side. For each attribute the value with the largest
    confidence times source weight is used; those of at least `min_confidence` make the sentence. With
    `constrain` the model can write only JSON with the schema's values, and token probabilities are the
    confidences. Without it the model answers freely with its own confidences; an invalid answer is asked for
    once more, then the picture is left out. With `describe=model` the model words the merged attributes; if
    that sentence fails the checks twice, the template's is used. Source: STMI (arXiv 2603.00695), caption
    generation; prompts, schema and merging rule are ours.
    """

    def __init__(
        self,
        *,
        weights: str,
        device: str = "cpu",
        attributes: Annotated[str, Field(description="person, vehicle, or a YAML file")] = "person",
        constrain: bool = True,
        confidence: Measure = "token_mean",
        min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.3,
        describe: Literal["template", "model"] = "template",
        keep: Annotated[Literal["merged", "all"], Field(description="attributes that are stored")] = "merged",
        weight_all: Weight = 1.0,
        weight_rgb: Weight = 1.0,
        weight_ni: Weight = 1.0,
        weight_ti: Weight = 1.0,
        rows: Annotated[int, Field(ge=1, description="pictures that the model sees at once")] = 8,
        dtype: DType = "auto",
        download: bool = False,
    ) -> None:
        """Raises WeightsError for the model, ConfigError for the schema."""
        self.schema = load_schema(attributes)
        self.model = VisionLanguage(weights, device, dtype, download)
        self.grammar = json_grammar(self.schema)
        self.vocabulary: Vocabulary | None = None
        if constrain:
            self.vocabulary = Vocabulary(self.model.tokenizer, self.model.ends)
            self.vocabulary.check(self.grammar)
        self.measure, self.least, self.keep, self.rows = confidence, min_confidence, keep, rows
        self.words_by_model = describe == "model"
        self.source_weights = {ALL: weight_all, "RGB": weight_rgb, "NI": weight_ni, "TI": weight_ti}

    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        """One caption for each source, or a DataError where the model gave no usable answer."""
        shown = [views(s.images) for s in sources]
        questions = [(i, name, picture) for i, found in enumerate(shown) for name, picture in found.items()]
        records: list[list[SampleAttribute]] = [[] for _ in sources]
        for start in range(0, len(questions), self.rows):
            part = questions[start : start + self.rows]
            answers = self._ask([(name, picture) for _, name, picture in part])
            for (i, _, _), answer in zip(part, answers, strict=True):
                records[i].extend(answer)
        return [
            self._caption(source, found, pictures)
            for source, found, pictures in zip(sources, records, shown, strict=True)
        ]

    def _ask(self, questions: Sequence[tuple[str, Pixels]]) -> list[tuple[SampleAttribute, ...]]:
        names, pictures = [n for n, _ in questions], [p for _, p in questions]
        prompts = [attribute_prompt(self.schema, name, self.vocabulary is None) for name in names]
        if self.vocabulary is None:
            return list(self._free(names, pictures, prompts))
        held = HeldToGrammar(self.grammar, self.vocabulary, len(questions), self.measure)
        self.model.write(pictures, prompts, self.grammar.longest + 1, held)
        return [
            read_constrained_answer(text, confidences, self.schema, name)
            for name, (text, confidences) in zip(names, held.answers(), strict=True)
        ]

    def _free(
        self, names: Sequence[str], pictures: Sequence[Pixels], prompts: Sequence[str]
    ) -> Iterator[tuple[SampleAttribute, ...]]:
        room = _ANSWER_TOKENS * len(self.schema.attributes)
        texts = self.model.write(pictures, prompts, room)
        for name, picture, prompt, (text, _) in zip(names, pictures, prompts, texts, strict=True):
            try:
                yield parse_answer(text, self.schema, name)
                continue
            except ValueError as problem:
                ((second, _),) = self.model.write([picture], [retry_prompt(prompt, str(problem))], room)
            try:
                yield parse_answer(second, self.schema, name)
            except ValueError:
                yield ()  # the other pictures of the capture may do

    def _caption(
        self, source: GeneratorInput, records: list[SampleAttribute], pictures: dict[str, Pixels]
    ) -> Generated:
        merged = merge_attributes(records, self.schema, self.source_weights)
        stated = above_confidence(merged, self.least)
        if not merged:
            return DataError(f"{source.name}: cap_vlm: the model gave no valid answer.")
        if not stated:
            best = max(a.confidence or 0.0 for a in merged.values())
            return DataError(
                f"{source.name}: cap_vlm: no attribute is sure enough (best {best:.2f}, "
                f"params.min_confidence {self.least})."
            )
        text, stated = fitting_sentence(stated, self.schema)
        if self.words_by_model:
            text = self._worded(text, stated, pictures.get(ALL, next(iter(pictures.values()))))
        sure = sum(a.confidence or 0.0 for a in stated.values()) / len(stated)
        kept = records if self.keep == "all" else list(merged.values())
        return GeneratedCaption(text, sure, tuple(replace(a) for a in kept))

    def _worded(self, draft: str, stated: dict[str, SampleAttribute], picture: Pixels) -> str:
        prompt = (
            f"Reword this description of the {self.schema.subject} as one plain English sentence. Keep every "
            f"fact and its words, and add none: {draft}"
        )
        for _ in range(2):
            ((text, _),) = self.model.write([picture], [prompt], _SENTENCE_TOKENS)
            found = sentence_faults(text, stated, self.schema)
            if not found:
                return text
            prompt = retry_prompt(prompt, f"{'; '.join(found)}.")
        return draft
