"""Whether what version 2 of the rendered identities shares between modalities can be learned, and how well.

    anyreid benchmark crossing     # three seeds, 60 held-out identities, a network of 0.33 M parameters

Every picture comes from the renderer, so that the study needs neither shards nor Ray.
"""
