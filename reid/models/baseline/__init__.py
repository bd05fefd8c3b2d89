"""The baseline that every system is compared with: a shared CLIP tower, fused by concatenation or by mean."""

from reid.models.baseline.model import Config, Model

__all__ = ["Config", "Model"]
