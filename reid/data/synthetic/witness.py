"""What a witness hands over: attributes, captions in plain words, and a sketch from memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, Frame, Layer, pattern_weight, unit
from reid.data.synthetic.identity import Identity, SyntheticConfig

Attribute = tuple[str, str, float]  # name, value, confidence

# Words a witness would use for the patterns and colours of the truth.
_PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "horizontal stripes": ("horizontal {0} stripes", "{0} hoops"),
    "vertical stripes": ("vertical {0} stripes", "{0} pinstripes"),
    "checks": ("{0} checks", "{1} checked pattern"),
    "dots": ("{0} dots", "{0} spots"),
    "two halves": ("one {0} half", "one side {0}"),
    "diagonal sash": ("a diagonal {0} sash", "a slanted {0} stripe"),
    "broad band": ("a broad {0} band", "one wide {0} stripe"),
}
_PERSON_WORDS = (("person", "They"), ("pedestrian", "The pedestrian"), ("individual", "They"))
_OPENINGS = ("{0}", "I saw {0}", "There was {0}")


def _choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _article(phrase: str) -> str:
    """The phrase with its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _sentence(phrase: str) -> str:
    """The phrase with a capital."""
    return phrase[0].upper() + phrase[1:]


def attributes_of(identity: Identity, view: str) -> tuple[Attribute, ...]:
    """True attributes; confidence 1.0 where this view shows them, 0.5 where it does not."""
    surfaces, traits = identity.surfaces, identity.traits
    if identity.kind == "person":
        main = "upper"
        named = ["garment", "sleeves", "lower", "bag", "hat", "hair", "logo"]
        named += [name for name in ("neck", "belt", "pockets", "cuffs", "footwear") if name in traits]
        colored = ["upper", "lower", "shoes", "bag", "hat", "hair"]
    else:
        main, named, colored = "body", ["body", "roof_item", "logo"], ["body", "roof", "rim"]
        named += [name for name in ("sill", "spare") if name in traits]
    found: list[Attribute] = []
    for name in named:
        hidden = name == "logo" and identity.kind == "person" and view != "front"
        hidden |= name == "spare" and not view.startswith("rear")
        found.append((name, traits[name], 0.5 if hidden else 1.0))
    for name in colored:
        if traits.get(name) not in ("none", "bald"):
            found.append((f"{name}_color", surfaces[name].color, 1.0))
    found.append((f"{main}_pattern", surfaces[main].pattern, 1.0))
    if surfaces[main].pattern != "plain":
        found.append((f"{main}_accent", surfaces[main].accent, 1.0))
    return tuple(found)


def _patterned(rng: np.random.Generator, identity: Identity, part: str, noun: str, keep: bool) -> str:
    """A coloured noun, with the accent pattern when the witness recalls it."""
    surface = identity.surfaces[part]
    phrase = f"{surface.color} {noun}"
    if keep and surface.pattern != "plain":
        words = _choose(rng, _PATTERN_WORDS[surface.pattern])
        phrase += " with " + words.format(surface.accent, _article(surface.accent))
    return phrase


def _person_caption(identity: Identity, view: str, forget: float, rng: np.random.Generator) -> str:
    traits, surfaces = identity.traits, identity.surfaces

    def recalls(chance: float = 1.0) -> bool:
        return bool(rng.random() < (1.0 - forget) * chance)

    noun, pronoun = _PERSON_WORDS[int(rng.integers(len(_PERSON_WORDS)))]
    upper = _patterned(rng, identity, "upper", traits["garment"], recalls())
    if traits["sleeves"] == "short" and recalls(0.7):
        upper = f"short-sleeved {upper}"
    worn = [_article(upper)]
    if recalls():
        lower = _patterned(rng, identity, "lower", traits["lower"], recalls(0.7))
        worn.append(_article(lower) if traits["lower"] == "skirt" else lower)
    if recalls(0.5):
        worn.append(f"{surfaces['shoes'].color} {traits.get('footwear', 'shoes')}")
    if traits["hat"] != "none" and recalls():
        worn.append(_article(f"{surfaces['hat'].color} {traits['hat']}"))
    for name, thing in (("neck", "scarf"), ("belt", "belt")):  # these are traits of version 2 alone
        if traits.get(name) == thing and recalls(0.8):
            worn.append(_article(f"{surfaces['trim'].color} {thing}"))
    first = _sentence(_choose(rng, _OPENINGS).format(_article(noun)) + " wearing " + _listed(worn))
    rest: list[str] = []
    if traits["bag"] != "none" and recalls():
        rest.append(f"carried {_article(surfaces['bag'].color + ' ' + traits['bag'])}")
    if traits["logo"] != "none" and recalls(0.9 if view == "front" else 0.3):
        print_ = f"{surfaces['logo'].color} {traits['logo']}"
        rest.append(f"had {_article(print_)} on the chest")
    if traits["hair"] == "bald":
        if traits["hat"] == "none" and recalls(0.6):
            rest.append("was bald")
    elif recalls(0.4):
        worn_hair = "hair in a bun" if traits["hair"] == "bun" else f"{traits['hair']} hair"
        rest.append(f"had {worn_hair}")
    return f"{first}. {pronoun} {_listed(rest)}." if rest else f"{first}."


def _vehicle_caption(identity: Identity, view: str, forget: float, rng: np.random.Generator) -> str:
    traits, surfaces = identity.traits, identity.surfaces

    def recalls(chance: float = 1.0) -> bool:
        return bool(rng.random() < (1.0 - forget) * chance)

    noun = traits["body"] if recalls() else "vehicle"
    seen = _article(_patterned(rng, identity, "body", noun, recalls()))
    first = _sentence(_choose(rng, _OPENINGS).format(seen))
    rest: list[str] = []
    if surfaces["roof"].color != surfaces["body"].color and recalls(0.8):
        rest.append(f"had {_article(surfaces['roof'].color + ' roof')}")
    if traits["roof_item"] != "none" and recalls():
        rest.append(f"carried {_article(traits['roof_item'])} on top")
    if traits["logo"] != "none" and recalls():
        print_ = f"{surfaces['logo'].color} {traits['logo']}"
        rest.append(f"showed {_article(print_)} on the side")
    if traits.get("spare", "none") != "none" and view.startswith("rear") and recalls():
        rest.append(f"had {_article(traits['spare'])} at the back")
    if recalls(0.4):
        rest.append(f"had {surfaces['rim'].color} wheels")
    return f"{first}. It {_listed(rest)}." if rest else f"{first}."


def _listed(phrases: list[str]) -> str:
    """Phrases joined as in a sentence."""
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def captions_of(
    config: SyntheticConfig, identity: Identity, view: str, rng: np.random.Generator
) -> tuple[str, ...]:
    """Two witnesses' descriptions; each leaves out some attributes and never adds a wrong one."""
    forget = 0.15 + 0.25 * config.difficulty
    speak = _person_caption if identity.kind == "person" else _vehicle_caption
    return tuple(speak(identity, view, forget, rng) for _ in range(2))


_FORGETTABLE = ("logo", "bag", "hat", "shoes", "zip", "plate", "roof", "rim", "grille")
_UNSEEN = ("dye", "object", "engine")  # no eye sees infrared


def draw_sketch(
    frame: Frame, layers: list[Layer], forget: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Dark outlines and pencil shading on white, (H, W) uint8, with some parts forgotten."""
    forgotten = {tag for tag in _FORGETTABLE if rng.random() < forget}
    skip_patterns = rng.random() < forget
    paper: Array = np.ones((frame.height, frame.width), np.float32)
    half = max(0.35, 0.005 * frame.height)  # half the width of a stroke, pixels
    for layer in layers:
        if layer.tag in _UNSEEN or layer.tag in forgotten:
            continue
        bounds = layer.shape.bounds()
        window = frame.window(bounds)
        if window is None:
            continue
        x, y = frame.x[window], frame.y[window]
        outside = layer.shape.distance(x, y) * frame.scale
        red, green, blue = layer.paint.base[:3]
        # Only dark things are shaded at all, and lightly: colour is for the words.
        tone = 0.98 - 0.3 * max(0.0, 0.35 - (0.3 * red + 0.5 * green + 0.2 * blue)) / 0.35
        part = paper[window]
        weight = None
        if not skip_patterns:
            weight = pattern_weight(layer.paint.patterns[0], x, y, layer.frame or bounds)
        fill = tone if weight is None else tone - 0.45 * weight
        part += unit(0.5 - outside) * (fill - part)
        line = unit(half + 0.5 - np.abs(outside))
        part += line * (0.12 - part)
    return (unit(paper) * 255.0 + 0.5).astype(np.uint8)
