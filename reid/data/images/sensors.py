"""How a data set's raw files become pictures of 8 bits: the fields of `data` that say so, by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reid.config import DROP, DataConfig, FixedRange, RangeRule
from reid.modality import PHOTO, Modality


@dataclass(frozen=True)
class SensorSettings:
    """`data.range`, and what a colour TIFF's fourth band is, if it is taken.

    >>> SensorSettings({Modality.TIR: "min_max"}).rule(PHOTO)
    'percentile'
    """

    ranges: Mapping[Modality, RangeRule] = field(default_factory=dict)
    fourth: Modality | None = None

    @classmethod
    def of(cls, data: DataConfig) -> SensorSettings:
        """Those of a configuration's data section."""
        return cls(data.range, None if data.fourth_band == DROP else Modality(data.fourth_band))

    def rule(self, modality: Modality) -> RangeRule:
        """How a modality's pictures of more than 8 bits become grey levels."""
        known = self.ranges.get(modality)
        if known is not None:
            return known
        usual = modality.entry.value_range
        return FixedRange(fixed=usual) if isinstance(usual, tuple) else usual

    def takes_fourth(self, modality: Modality) -> bool:
        """Whether a fourth band of this modality's files is taken."""
        return self.fourth is not None and modality is PHOTO


DEFAULT_SENSORS = SensorSettings()
"""What holds where a configuration says nothing."""
