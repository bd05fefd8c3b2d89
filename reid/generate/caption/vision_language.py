"""Any image-text-to-text model of `transformers`: pictures and prompts in, texts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from PIL import Image as PILImage

from reid.data.images import Pixels
from reid.generate.weights import load_pretrained

DType = Literal["auto", "float32", "bfloat16", "float16"]
_WHAT = "an image-text-to-text transformers model with its processor"


class VisionLanguage:
    """A model and its processor; greedy, so that equal pictures get equal texts."""

    def __init__(self, weights: str, device: str, dtype: DType = "auto", download: bool = False) -> None:
        """Raises WeightsError when the model is missing or of another kind."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor = load_pretrained(AutoProcessor, weights, _WHAT, download)
        self.model = load_pretrained(AutoModelForImageTextToText, weights, _WHAT, download, dtype=dtype).to(
            device
        )
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"  # all answers of a batch begin at one place
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Not an argument of generate(): some models pass their own.
        self.model.generation_config.pad_token_id = self.tokenizer.pad_token_id
        self.device = device

    @property
    def ends(self) -> list[int]:
        """Token ids that end an answer."""
        found = self.model.generation_config.eos_token_id
        if found is None:
            found = self.tokenizer.eos_token_id
        return [found] if isinstance(found, int) else list(found or [])

    @torch.inference_mode()
    def write(
        self,
        pictures: Sequence[Pixels],
        prompts: Sequence[str],
        max_tokens: int,
        held: Any = None,
    ) -> list[tuple[str, float]]:
        """One text a picture, and the mean probability of its tokens. `held` is a logits processor."""
        texts = [self._prompt(p) for p in prompts]
        inputs = self.processor(
            images=[[PILImage.fromarray(p)] for p in pictures] if self._chats else list(pictures),
            **({"text": texts} if any(texts) else {}),
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        out = self.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            max_new_tokens=max_tokens,
            return_dict_in_generate=True,
            output_logits=held is None,
            **({} if held is None else {"logits_processor": [held]}),
        )
        if held is not None:
            return [("", 0.0)] * len(pictures)  # the processor has the texts
        return self._read(out.sequences, out.logits)

    @property
    def _chats(self) -> bool:
        return bool(getattr(self.processor, "chat_template", None))

    def _prompt(self, prompt: str) -> str:
        if not self._chats:
            return prompt
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": content}]
        text: str = self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return text

    def _read(self, sequences: torch.Tensor, logits: tuple[torch.Tensor, ...]) -> list[tuple[str, float]]:
        steps = len(logits)
        written = sequences[:, -steps:] if steps else sequences[:, :0]
        stop = {*self.ends, self.tokenizer.pad_token_id, self.tokenizer.sep_token_id}
        read = []
        for i, row in enumerate(written.tolist()):
            length = next((t for t, token in enumerate(row) if token in stop), len(row))
            logs = [float(logits[t][i].float().log_softmax(0)[row[t]]) for t in range(length)]
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True).strip()
            read.append((text, float(torch.tensor(logs).exp().mean()) if logs else 0.0))
        return read
