"""The configuration of a picture-to-picture translator: photo -> infrared, learned from aligned pairs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.typed import Section
from reid.modality import Modality


class UNetConfig(Section):
    """Sizes of the U-Net; its inputs and outputs are pictures in [-1, 1]."""

    inputs: Literal[1, 3] = Field(3, description="channels of the source")
    outputs: Literal[1, 3] = Field(1, description="channels of the target")
    width: int = Field(64, ge=1, le=512, description="channels after the first layer; doubled to 8 times it")
    depth: int = Field(6, ge=1, le=10, description="halvings of the picture; 8 reaches one pixel from 256")
    norm: Literal["batch", "instance"] = Field("instance", description="normalisation of all but the ends")
    dropout: float = Field(0.0, ge=0, lt=1, description="in the three innermost layers, while training")


class TranslateConfig(Section):
    """Training on aligned pairs (InfraGAN's recipe: LSGAN + weight x L1 + weight x (1 - SSIM), Adam)."""

    pairs: str = Field(
        description="a built shard set, or a folder with one folder a modality (rgb/, nir/, tir/) that "
        "hold aligned pictures under equal names"
    )
    source: Modality = Field(Modality.RGB, description="modality to translate from")
    target: Modality = Field(Modality.NIR, description="modality to translate to")
    split: str = Field("train", description="split of the shard set; test identities teach nothing")
    out: str = Field(description="folder for the weights, the metrics and the state to resume from")
    height: int = Field(256, ge=8, le=2048)
    width: int = Field(128, ge=8, le=2048)
    unet: UNetConfig = UNetConfig()
    epochs: int = Field(100, ge=1, description="at the full learning rate")
    decay_epochs: int = Field(100, ge=0, description="more epochs, in which it falls linearly to zero")
    batch_size: int = Field(16, ge=1)
    lr: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1)
    l1: float = Field(100.0, ge=0, description="weight of the absolute error")
    ssim: float = Field(100.0, ge=0, description="weight of 1 - SSIM")
    adversarial: bool = Field(True, description="add a least-squares patch discriminator")
    discriminator_lr: float = Field(0.01, gt=0, description="the discriminator's rate, relative to lr")
    flip: float = Field(0.5, ge=0, le=1, description="chance to mirror a pair")
    holdout: float = Field(0.05, ge=0, lt=1, description="share of identities on which the error is measured")
    checkpoint_every: int = Field(5, ge=1, description="epochs between two saved states")
    seed: int = Field(0, ge=0)
    device: str = Field("cpu", description="cpu, cuda, cuda:1 …")
