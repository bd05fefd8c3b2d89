"""FlexiReID: sketch, infrared picture, sentence, or any of them together, find a photo."""

from reid.models.flexireid.model import Config, Model

__all__ = ["Config", "Model"]
