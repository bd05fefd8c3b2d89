"""Signal (AAAI 2026): selective interaction of patches, and global and local alignment of modalities."""

from reid.models.signal.model import Config, Model

__all__ = ["Config", "Model"]
