"""Untrained runs, pictures and filled galleries, for tests of retrieval and of the endpoint."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from reid.comparison.calibration import Calibration, LogisticMap, PairCalibration, VerificationPoint
from reid.config import load
from reid.gallery.store import Gallery
from reid.modality import CAMERA, Modality, all_subsets, subset_name
from reid.models.registry import build_model
from reid.retrieve.answers import NewItem
from reid.retrieve.retriever import Retriever
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap
from reid.runs.run import Run, load_run, model_context

RGB, NIR = Modality.RGB, Modality.NIR


def made_calibration(identities: int = 30) -> Calibration:
    """Of rgb against rgb: log LR = 20 s - 18, at most 8; similarity 0.95 for FPR 0.1. None of nir->rgb."""
    point = VerificationPoint(fpr=0.1, threshold=0.95, tpr=0.5, tpr_interval=None, fpr_interval=None)
    pair = PairCalibration(
        query="rgb",
        gallery="rgb",
        map=LogisticMap(slope=20, intercept=-18),
        floor=-8,
        ceiling=8,
        identities=identities,
        positive_pairs=3000,
        negative_pairs=3000,
        queries=60,
        gallery_items=60,
        verification=(point,),
    )
    lacking = {"nir->rgb": "no validation sample has 'nir'"}
    return Calibration(
        data_fingerprint="d", protocol="cross_camera", identities=30, pairings=(pair,), lacking=lacking
    )


def calibrated_alike() -> Calibration:
    """Every subset of the cameras against itself, each with a line of its own."""
    pairs = [
        PairCalibration(
            query=subset_name(s),
            gallery=subset_name(s),
            map=LogisticMap(slope=9 + 3 * n, intercept=-4.0 - n),
            floor=-8,
            ceiling=8,
            identities=30,
            positive_pairs=3000,
            negative_pairs=3000,
            queries=60,
            gallery_items=60,
        )
        for n, s in enumerate(all_subsets(CAMERA))
    ]
    return Calibration(data_fingerprint="d", protocol="all", identities=30, pairings=tuple(pairs))


def make_run(
    folder: Path, modalities: str, fusion: str, seed: int = 0, calibration: Calibration | str = "not measured"
) -> Run:
    """Write and load a run folder of an untrained baseline small enough for a test."""
    import torch

    torch.manual_seed(seed)
    tower = {"arch": None, "patch": 8, "width": 32, "layers": 1, "heads": 2, "dim": 32}
    config = load(
        {
            "name": f"tiny-{fusion}",
            "data": {
                "name": "synthetic",
                "reader": {"name": "synthetic"},
                "modalities": modalities,
                "height": 32,
                "width": 16,
            },
            "model": {
                "name": "baseline",
                "fusion": fusion,
                "weights": "random",
                "tower": tower,
                "text": {"width": 32, "layers": 1, "heads": 2},
                "modality_embedding": True,
            },
            "index": {"thumbnail": 24},
        }
    )
    labels = LabelMap((("synthetic", 0), ("synthetic", 1)), (0, 1))
    model = build_model(config.model, model_context(config, labels))
    return load_run(write_run(str(folder), config, model, labels, {}, calibration).uri)


def picture(seed: int, size: tuple[int, int] = (32, 64), kind: str = "JPEG") -> bytes:
    """A random blocky picture, (width, height)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 2, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(stream, kind)
    return stream.getvalue()


def fill(retriever: Retriever, count: int = 8) -> None:
    """Items 0..count-1 with an RGB picture; the even ones have a near-infrared one, too."""
    retriever.put(
        [
            NewItem(
                f"item-{n}",
                {RGB: picture(n), NIR: picture(100 + n)} if n % 2 == 0 else {RGB: picture(n)},
                pid=n // 2,
                camid=n % 2,
                timestamp=float(n),
                source="test",
            )
            for n in range(count)
        ]
    )


def retriever_of(run: Run, path: Path, subsets: list[str]) -> Retriever:
    rule = run.model.comparison_rule
    gallery = Gallery.create(str(path), run.model.dim, subsets, run.fingerprint, run.uri, rule=rule)
    return Retriever(run, gallery)
