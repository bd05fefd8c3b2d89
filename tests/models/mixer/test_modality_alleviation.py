"""Modality alleviation against its formula, image by image."""

from __future__ import annotations

import torch

from reid.models.mixer.modality_alleviation import ModalityAlleviation


def test_a_gate_mixes_the_map_with_its_instance_normalised_self() -> None:
    torch.manual_seed(0)
    mam, x = ModalityAlleviation(32), torch.randn(3, 32, 4, 2)
    for image, out in zip(x, mam(x), strict=True):
        means = image.mean((1, 2))
        gate = torch.sigmoid(mam.excite.weight @ torch.relu(mam.squeeze.weight @ means))
        for c in range(32):
            normed = (image[c] - means[c]) / (image[c].var(correction=0) + 1e-5).sqrt()
            assert torch.allclose(out[c], gate[c] * image[c] + (1 - gate[c]) * normed, atol=1e-5)


def test_it_counts_two_channel_products_and_takes_no_image_at_all() -> None:
    mam = ModalityAlleviation(64)
    assert sum(p.numel() for p in mam.parameters()) == 2 * 64 * 4
    assert mam(torch.zeros(0, 64, 2, 2)).shape == (0, 64, 2, 2)
    assert mam(torch.ones(2, 64, 1, 1)).shape == (2, 64, 1, 1)
