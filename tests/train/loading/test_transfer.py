"""Batches on their way to a device, with a double of CUDA's streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reid.data.batches.batch import Batch
from reid.modality import Modality
from reid.train.loading.transfer import on_device
from tests.support.models.ddp_ranks import batch_of
from tests.support.models.public_checkpoints import batch as make_batch

META = torch.device("meta")


class Recorder:
    """Notes what a copy stream is asked for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.kept: list[Batch] = []

    @contextmanager
    def entered(self) -> Iterator[None]:
        self.log.append("copy")
        yield
        self.log.append("copied")

    def handed_over(self, batch: Batch) -> None:
        self.log.append("handed over")
        self.kept.append(batch)


def test_a_copy_is_issued_after_the_step_before_it_and_handed_over_before_its_own() -> None:
    copies = Recorder()
    for _ in on_device([make_batch(), make_batch()], META, copies):
        copies.log.append("step")
    assert copies.log == ["copy", "copied", "handed over", "step"] * 2


def test_every_tensor_of_the_batch_goes_to_the_device() -> None:
    copies = Recorder()
    (batch,) = on_device([make_batch()], META, copies)
    assert copies.kept == [batch]
    assert {t.device for t in batch.tensors()} == {META}
    assert len(batch.tensors()) > 5


def test_without_copies_beside_batches_are_moved_one_after_another() -> None:
    one = make_batch()
    (batch,) = on_device([one], torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(one.tensors(), batch.tensors(), strict=True))


def test_labels_that_decide_shapes_stay_in_main_memory_and_texts_are_cut_to_the_longest() -> None:
    one = batch_of("stmi", 0)
    tokens = one.caption
    assert tokens is not None and one.caption_present is not None
    moved = one.to(META)
    assert torch.equal(moved.labels.present, one.present)
    assert moved.labels.caption_present is not None
    assert torch.equal(moved.labels.caption_present, one.caption_present)
    assert moved.caption is not None
    assert moved.caption.shape[1] == int(tokens.argmax(1).max()) + 1 < tokens.shape[1]
    shown = moved.only([Modality.NIR])
    assert torch.equal(shown.labels.present, one.only([Modality.NIR]).present)
    assert moved.to(META).labels is moved.labels
