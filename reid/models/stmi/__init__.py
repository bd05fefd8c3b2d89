"""STMI (AAAI 2026): masks steer attention, captions gather tokens, and these interact over a hypergraph."""

from reid.models.stmi.model import Config, Model

__all__ = ["Config", "Model"]
