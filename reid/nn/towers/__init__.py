"""Towers: CLIP, vision transformers, ResNets, and where their weights come from."""
