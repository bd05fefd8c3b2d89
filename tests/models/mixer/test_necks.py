"""The norm of a BNNeck, shared by two modalities or one for each."""

from __future__ import annotations

import torch

from reid.models.mixer.necks import Neck


def test_one_norm_centres_all_rows_and_two_each_modality() -> None:
    x = torch.cat([torch.randn(6, 4) + 3, torch.randn(5, 4) - 3])
    shared, dual = Neck(4), Neck(4, dual=True)
    assert torch.allclose(shared(x, 6).mean(0), torch.zeros(4), atol=1e-5)
    assert shared(x, 6)[:6].mean() > 0.5
    for part in dual(x, 6).split([6, 5]):
        assert torch.allclose(part.mean(0), torch.zeros(4), atol=1e-5)
    assert [n for n, p in dual.named_parameters() if not p.requires_grad] == ["norms.0.bias", "norms.1.bias"]


def test_stored_statistics_are_those_of_evaluation() -> None:
    x = torch.randn(7, 4) + 2
    for neck in (Neck(4), Neck(4, dual=True)):
        neck(x, 3)
        stored = neck.stored(x, 3)
        assert torch.allclose(neck.eval()(x, 3), stored)
        assert neck(x[:3], 3).shape == (3, 4)  # no infrared row
