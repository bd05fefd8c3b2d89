"""Mixtures of experts: routers, experts, and the layer that computes them together."""
