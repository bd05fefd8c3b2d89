"""The configuration of an image-to-image translator: photo to infrared, trained on aligned pairs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.sections.field_types import Device
from reid.config.typed import Section
from reid.modality import INFRARED, PHOTO, Modality


class UNetConfig(Section):
    """Sizes of the U-Net; its inputs and outputs are images in [-1, 1]."""

    inputs: Literal[1, 3] = Field(3, description="channels of the source image")
    outputs: Literal[1, 3] = Field(1, description="channels of the target image")
    width: int = Field(
        64,
        ge=1,
        le=512,
        description="channels after the first layer; deeper layers double them up to 8 times",
    )
    depth: int = Field(
        6, ge=1, le=10, description="number of times the image is halved; 8 turn 256 pixels into one"
    )
    norm: Literal["batch", "instance"] = Field(
        "instance", description="normalisation of all layers but the first and last"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout rate in the three innermost layers in training"
    )


class TranslateConfig(Section):
    """Training on aligned pairs (InfraGAN's losses: LSGAN, L1 and 1 - SSIM; Adam)."""

    pairs: str = Field(
        description="a built shard set, or a folder with one folder for each modality (rgb/, nir/, "
        "tir/) that holds aligned images under equal names"
    )
    source: Modality = Field(PHOTO, description="modality to translate from")
    target: Modality = Field(INFRARED[0], description="modality to translate to")
    split: str = Field(
        "train", description="split of the shard set that is trained on; do not use test identities"
    )
    out: str = Field(description="folder for the weights, the metrics and the state to resume from")
    height: int = Field(256, ge=8, le=2048, description="height in pixels of the training images")
    width: int = Field(128, ge=8, le=2048, description="width in pixels of the training images")
    unet: UNetConfig = Field(UNetConfig(), description="sizes of the translating network")
    epochs: int = Field(100, ge=1, description="epochs at the full learning rate")
    decay_epochs: int = Field(
        100, ge=0, description="further epochs in which the learning rate falls linearly to zero"
    )
    batch_size: int = Field(16, ge=1, description="number of image pairs in each step")
    lr: float = Field(2e-4, gt=0, description="learning rate of the translating network")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay rate of the gradient's mean")
    l1: float = Field(100.0, ge=0, description="weight of the mean absolute error")
    ssim: float = Field(100.0, ge=0, description="weight of 1 - SSIM (structural similarity)")
    adversarial: bool = Field(True, description="train against a least-squares patch discriminator")
    discriminator_lr: float = Field(
        0.01, gt=0, description="learning rate of the discriminator relative to lr"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring a pair")
    holdout: float = Field(0.05, ge=0, lt=1, description="share of identities on which the error is measured")
    checkpoint_every: int = Field(5, ge=1, description="number of epochs between two saved states")
    seed: int = Field(0, ge=0, description="random seed of the training")
    device: Device = Field(
        "auto",
        description="where to train: auto: on the GPU where there is one; cpu; cuda: on the GPU, which must "
        "be there",
    )
