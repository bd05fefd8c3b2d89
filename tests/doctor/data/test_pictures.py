"""What is kept of a picture that was looked at."""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from reid.data.images import encode_jpeg, encode_png
from reid.doctor.data.pictures import picture_stats
from tests.support.sets.examined_samples import RGB
from tests.support.sets.healthy import pattern


def test_a_recoded_or_scaled_picture_keeps_its_hash_and_another_has_its_own() -> None:
    pixels = np.asarray(pattern(1))
    small = np.asarray(pattern(1).resize((24, 48), PILImage.Resampling.BICUBIC))
    first, jpeg, scaled, other = (
        picture_stats(0, RGB, data, "x")
        for data in (
            encode_png(pixels),
            encode_jpeg(pixels, quality=60),
            encode_png(small),
            encode_png(np.asarray(pattern(2))),
        )
    )
    assert (first.hash ^ jpeg.hash).bit_count() <= 4
    assert (first.hash ^ scaled.hash).bit_count() <= 4
    assert (first.hash ^ other.hash).bit_count() > 12
    assert len({first.digest, jpeg.digest, scaled.digest}) == 3
