"""The names of exclusion rules and their descriptions: what a configuration may list under `exclude`.

`reid.evaluate.protocols.exclusion_rules` implements them, one function for each name.
"""

from __future__ import annotations

RULE_WORDS = {
    "same_sample": "the query's own sample",
    "leakage": "items that the query was generated from, and items generated from the query or its source",
    "identical_file": "files identical to the query's under another sample's name",
    "same_camera": "items of the same identity from the query's camera, where known",
    "same_scene": "items of the same identity from the query's scene (location), where known",
    "same_modality": "items of the same identity in a modality of the query",
    "camera": "every item from the query's camera, where known",
    "location": "every item from the query's location, where known",
    "source_camera": "every item from the camera of the photo that a part of the query was generated from",
}
"""Name -> words that finish the sentence "Not counted: …"."""
