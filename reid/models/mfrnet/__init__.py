"""MFRNet (ICML 2025): mixtures of experts fuse modalities before the encoder and refine them within it."""

from reid.models.mfrnet.model import Config, Model

__all__ = ["Config", "Model"]
