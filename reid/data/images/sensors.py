"""How a data set's raw files become pictures of 8 bits: the fields of `data` that say so, by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reid.config import DataConfig, RangeRule
from reid.modality import Modality


@dataclass(frozen=True)
class SensorSettings:
    """`data.range`, and whether a colour TIFF's fourth band is the capture's near-infrared picture.

    >>> SensorSettings({Modality.TIR: "min_max"}).rule(Modality.RGB)
    'percentile'
    """

    ranges: Mapping[Modality, RangeRule] = field(default_factory=dict)
    fourth_is_nir: bool = False

    @classmethod
    def of(cls, data: DataConfig) -> SensorSettings:
        """Those of a configuration's data section."""
        return cls(data.range, data.fourth_band == "nir")

    def rule(self, modality: Modality) -> RangeRule:
        """How a modality's pictures of more than 8 bits become grey levels."""
        return self.ranges.get(modality, "percentile")

    def takes_fourth(self, modality: Modality) -> bool:
        """Whether a fourth band of this modality's files is taken as near-infrared."""
        return self.fourth_is_nir and modality is Modality.RGB


DEFAULT_SENSORS = SensorSettings()
"""What holds where a configuration says nothing."""
