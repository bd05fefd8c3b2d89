"""Two libraries behind one call: pictures and prompts in, candidate masks with predicted quality out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reid.data.images import Pixels
from reid.generate.mask.prompts import Prompt
from reid.generate.registry import MaskArray
from reid.generate.weights import find_file, foreign_weights_error, load_pretrained
from reid.storage.checkpoints import FILES, State, read_state

Candidates = tuple[MaskArray, npt.NDArray[np.floating]]
"""Masks (C, H, W) and their predicted IoU (C,)."""
Segmenter = Callable[[Sequence[Pixels], Sequence[Prompt]], list[Candidates]]
_PROCESSORS = {"sam": "SamProcessor", "sam_hq": "SamHQProcessor", "sam3_tracker": "Sam3TrackerProcessor"}
_DECODER_HEADS = 8


def load_segmenter(weights: str, device: str, download: bool = False) -> Segmenter:
    """A file is a segment-anything checkpoint; a folder or a Hugging Face name is a transformers model."""
    if weights.endswith(FILES):
        return SegmentAnything(weights, device)
    return TransformersSam(weights, device, download)


class SegmentAnything:
    """The original library. The sizes of the network are read from the checkpoint: no model type to name."""

    def __init__(self, weights: str, device: str) -> None:
        """Raises WeightsError when the file is missing or is not a segment-anything checkpoint."""
        state = read_state(find_file(weights))
        try:
            self.sam = build_sam(state)
            self.sam.load_state_dict(state)
        except KeyError:
            raise foreign_weights_error(weights, "a segment-anything checkpoint", state) from None
        except RuntimeError as error:
            raise foreign_weights_error(weights, "a segment-anything checkpoint", state, error) from None
        self.sam.to(device).eval()

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels], prompts: Sequence[Prompt]) -> list[Candidates]:
        """The encoder sees all pictures at once; the decoder one by one, as the library does it."""
        records = [self._record(*pair) for pair in zip(pictures, prompts, strict=True)]
        return [
            (out["masks"][0].cpu().numpy(), out["iou_predictions"][0].float().cpu().numpy())
            for out in self.sam(records, multimask_output=True)
        ]

    def _record(self, picture: Pixels, prompt: Prompt) -> dict[str, Any]:
        from segment_anything.utils.transforms import ResizeLongestSide

        size, device = picture.shape[:2], self.sam.device
        resize = ResizeLongestSide(self.sam.image_encoder.img_size)
        planes = torch.from_numpy(resize.apply_image(picture)).to(device).permute(2, 0, 1).float()
        points = resize.apply_coords(np.array([prompt.points]), size)
        boxes = resize.apply_boxes(np.array([prompt.box]), size)
        return {
            "image": planes,  # (3, h, w), its longest side is the encoder's
            "original_size": size,
            "point_coords": torch.as_tensor(points, dtype=torch.float32, device=device),
            "point_labels": torch.tensor([prompt.labels], device=device),
            "boxes": torch.as_tensor(boxes, dtype=torch.float32, device=device),
        }


class TransformersSam:
    """SAM, SAM-HQ, SAM 2 and its relatives by `transformers`; one forward pass for all pictures."""

    def __init__(self, weights: str, device: str, download: bool = False) -> None:
        """Raises WeightsError when the model is missing or is none of these."""
        import transformers

        what = "a SAM-like transformers model with its processor"
        self.model = load_pretrained(
            transformers.AutoModelForMaskGeneration, weights, what, download, dtype=torch.float32
        ).to(device)
        processor = getattr(transformers, _PROCESSORS.get(self.model.config.model_type, "Sam2Processor"))
        self.processor = load_pretrained(processor, weights, what, download)
        self.device = device

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels], prompts: Sequence[Prompt]) -> list[Candidates]:
        inputs = self.processor(
            images=list(pictures),
            input_points=[[[list(point) for point in p.points]] for p in prompts],
            input_labels=[[list(p.labels)] for p in prompts],
            input_boxes=[[list(p.box)] for p in prompts],
            return_tensors="pt",
        )
        sizes, reshaped = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes", None)
        # The processors make float64 coordinates, which the float32 model would trip over.
        given = {k: v.float() if v.is_floating_point() else v for k, v in inputs.items()}
        out = self.model(**{k: v.to(self.device) for k, v in given.items()}, multimask_output=True)
        sized = (sizes,) if reshaped is None else (sizes, reshaped)
        masks = self.processor.post_process_masks(out.pred_masks.cpu(), *sized)
        scores: Tensor = out.iou_scores[:, 0].float().cpu()  # (B, C)
        return [(m[0].numpy() > 0, s.numpy()) for m, s in zip(masks, scores, strict=True)]


def build_sam(state: State) -> Any:
    """An empty segment-anything network of the sizes of a checkpoint (vit_b, vit_l, vit_h or any other).

    Raises KeyError for a checkpoint of something else.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    encoder, decoder = "image_encoder.", "mask_decoder."
    width, _, _, patch = state[f"{encoder}patch_embed.proj.weight"].shape
    grid = state[f"{encoder}pos_embed"].shape[1]
    depth = _count(state, f"{encoder}blocks.")
    spans = [state[f"{encoder}blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]  # (2 * side - 1, head)
    sides = [(length + 1) // 2 for length, _ in spans]
    out = state[f"{encoder}neck.0.weight"].shape[0]
    layer = f"{decoder}transformer.layers.0."
    iou = f"{decoder}iou_prediction_head.layers."
    image_encoder = ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // spans[0][1],
        mlp_ratio=state[f"{encoder}blocks.0.mlp.lin1.weight"].shape[0] / width,
        out_chans=out,
        qkv_bias=f"{encoder}blocks.0.attn.qkv.bias" in state,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(sides),
        global_attn_indexes=tuple(i for i, side in enumerate(sides) if side == grid),
    )
    prompt_encoder = PromptEncoder(
        embed_dim=out,
        image_embedding_size=(grid, grid),
        input_image_size=(grid * patch, grid * patch),
        mask_in_chans=4 * state["prompt_encoder.mask_downscaling.0.weight"].shape[0],
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=state[f"{decoder}mask_tokens.weight"].shape[0] - 1,
        transformer=TwoWayTransformer(
            depth=_count(state, f"{decoder}transformer.layers."),
            embedding_dim=out,
            num_heads=_DECODER_HEADS,
            mlp_dim=state[f"{layer}mlp.lin1.weight"].shape[0],
            attention_downsample_rate=out
            // state[f"{layer}cross_attn_token_to_image.q_proj.weight"].shape[0],
        ),
        transformer_dim=out,
        iou_head_depth=_count(state, iou),
        iou_head_hidden_dim=state[f"{iou}0.weight"].shape[0],
    )
    return Sam(image_encoder, prompt_encoder, mask_decoder)


def _count(state: State, prefix: str) -> int:
    """How many numbered members a list of modules has."""
    return len({k.removeprefix(prefix).split(".")[0] for k in state if k.startswith(prefix)})
