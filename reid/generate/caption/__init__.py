"""Generators of captions: from pixels without weights, or by a vision-language model."""
