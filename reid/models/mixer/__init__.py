"""MixER: modality-erased and modality-related features for mixed galleries of visible and infrared."""

from reid.models.mixer.model import Config, Model

__all__ = ["Config", "Model"]
