"""Distance maps in whole millimetres, as depth cameras write them; 0 where there is no reading.

Eight metres become white; a camera that sees farther, or that counts in another unit, gets its own
`data.range`, e.g. `{depth: {fixed: [0, 20000]}}`. What has no reading comes out black, as if it were near.
"""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(
    name="depth",
    order=60,
    words="a depth map",
    label="Depth",
    bits=16,
    jitter=False,
    value_range=(0, 8000),
    spellings=("depthmap",),
)
