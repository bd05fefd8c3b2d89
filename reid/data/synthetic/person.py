"""The parts of a person, seen from the front, the back or a side.

Figure units: the body is 1 high, y runs down from the crown (0) to the soles (1), x from the
middle to the right of the picture.
"""

from __future__ import annotations

from reid.data.synthetic.canvas import (
    ALL,
    HEAT,
    NIR,
    RGB,
    Bounds,
    Capsule,
    Ellipse,
    Layer,
    Polygon,
    Shape,
    box,
    emblem,
)
from reid.data.synthetic.identity import Identity

PERSON_VIEWS = ("front", "back", "left", "right")


class _Body:
    """Collects the layers of one person in one view."""

    def __init__(self, identity: Identity, view: str, stride: float, turn: float) -> None:
        self.identity, self.traits = identity, identity.traits
        self.view, self.stride, self.turn = view, stride, turn
        self.side = view in ("left", "right")
        self.facing = -1.0 if view == "left" else 1.0
        self.girth = identity.shape["girth"] * (0.8 if self.side else 1.0)
        self.hip = identity.shape["hip"]
        self.shoulder = 0.135 * self.girth
        # The bag hangs on the person's own side: it changes sides between front and back.
        own = -1.0 if self.traits["bag_side"] == "left" else 1.0
        self.bag_x = own * (-1.0 if view == "back" else 1.0)
        self.bag_near = not self.side or (self.traits["bag_side"] == view)
        self.hem = self.hip + (0.17 if self.traits["garment"] == "long coat" else 0.03)
        self.torso: Bounds = (-self.shoulder, 0.165, self.shoulder, self.hem)
        self.layers: list[Layer] = []

    def add(
        self,
        tag: str,
        shape: Shape,
        surface: str,
        frame: Bounds | None = None,
        channels: slice = ALL,
    ) -> None:
        """Put one more part on top."""
        paint = self.identity.surfaces[surface].paint
        self.layers.append(Layer(tag, shape, paint, frame, channels))

    def bag_behind(self) -> None:
        """The part of a bag that the body covers."""
        if self.traits["bag"] == "backpack" and self.view == "front":
            s = self.shoulder + 0.035
            self.add("bag", box(-s, 0.18, s, 0.27), "bag")
        if self.traits["bag"] == "backpack" and self.side:
            back = -self.facing
            self.add("bag", Ellipse(back * (self.shoulder + 0.03), 0.31, 0.085, 0.135), "bag")

    def bag_before(self) -> None:
        """The part of a bag that covers the body."""
        kind, x, s = self.traits["bag"], self.bag_x, self.shoulder
        if kind == "backpack" and self.view == "front":
            for sign in (-1.0, 1.0):
                strap = Capsule(sign * 0.62 * s, 0.18, sign * 0.72 * s, 0.36, 0.018)
                self.add("bag", strap, "bag")
        elif kind == "backpack" and self.view == "back":
            self.add("bag", box(-0.8 * s, 0.19, 0.8 * s, 0.45), "bag")
            self.add("bag", Ellipse(0.0, 0.20, 0.75 * s, 0.04), "bag")
        elif kind == "shoulder bag":
            self.add("bag", Capsule(-x * 0.7 * s, 0.18, x * 0.95 * s, 0.48, 0.014), "bag")
            if self.bag_near:
                at = x * (s + 0.015) if not self.side else 0.0
                self.add("bag", box(at - 0.075, 0.46, at + 0.075, 0.58), "bag")
        elif kind == "handbag" and self.bag_near:
            at = x * (s + 0.07) if not self.side else self.facing * 0.05
            self.add("bag", Capsule(at, 0.53, at, 0.58, 0.012), "bag")
            self.add(
                "bag",
                Polygon(((at - 0.05, 0.58), (at + 0.05, 0.58), (at + 0.075, 0.70), (at - 0.075, 0.70))),
                "bag",
            )
        elif kind == "suitcase":
            at = x * (s + 0.09) if not self.side else -self.facing * 0.19
            self.add("bag", Capsule(at, 0.55, at, 0.74, 0.010), "bag")
            self.add("bag", box(at - 0.075, 0.73, at + 0.075, 0.97), "bag")

    def legs(self) -> None:
        """Legs, shoes and the lower garment."""
        hip, width = self.hip, 0.12 * self.girth
        frame = (-width, hip, width, 0.95)
        apart = 0.5 * width if not self.side else 0.12 * width
        kind = self.traits["lower"]
        for sign in (-1.0, 1.0):
            swing = sign * self.stride * (2.2 if self.side else 0.6)
            x0, x1 = sign * apart, sign * apart * 1.1 + swing
            bare = kind != "trousers"
            radius = 0.038 if bare else 0.048
            surface = "skin" if bare else "lower"
            self.add("legs", Capsule(x0, hip, x1, 0.93, radius), surface, frame)
            toe = self.facing * 0.025 if self.side else sign * 0.008
            self.add("shoes", Ellipse(x1 + toe, 0.965, 0.056, 0.034), "shoes")
            if kind == "shorts":
                knee = x0 + 0.4 * (x1 - x0)
                short = (-width, hip, width, 0.72)
                self.add("lower", Capsule(x0, hip, knee, 0.67, 0.058), "lower", short)
        if kind == "skirt":
            wide = 1.3 * width + 0.02
            self.add(
                "lower",
                Polygon(((-width, hip - 0.02), (width, hip - 0.02), (wide, 0.75), (-wide, 0.75))),
                "lower",
            )

    def arm(self, sign: float) -> None:
        """One arm: sleeve and hand."""
        s = self.shoulder
        if self.side:
            top, swing = 0.0, sign * self.stride * 2.0
            hand = swing + 0.02 * self.facing
        else:
            top, hand = sign * s, sign * (s + 0.035) + self.stride * 0.5
        cut = 0.31 if self.traits["sleeves"] == "short" else 0.47
        part = (cut - 0.21) / 0.30
        mid = top + part * (hand - top)
        self.add("arm", Capsule(top, 0.21, hand, 0.51, 0.030), "skin")
        self.add("sleeve", Capsule(top, 0.21, mid, cut, 0.040), "sleeve")

    def trunk(self) -> None:
        """Torso with its prints: the logo in RGB, a dye mark in NIR, a warm or cold object."""
        s, hem = self.shoulder, self.hem
        flare = 1.15 if self.traits["garment"] == "long coat" else 0.92
        waist = s * flare
        self.add(
            "upper",
            Polygon(
                (
                    (-0.5 * s, 0.158),
                    (0.5 * s, 0.158),
                    (s, 0.19),
                    (waist, hem),
                    (-waist, hem),
                    (-s, 0.19),
                )
            ),
            "upper",
            self.torso,
        )
        if self.traits["garment"] == "jacket" and self.view == "front":
            self.add("zip", Capsule(0.0, 0.17, 0.0, hem, 0.006), "shoes", channels=RGB)
        at = self.turn * 0.03
        if self.view == "front":
            for shape in emblem(self.traits["logo"], at, 0.30, 0.052):
                self.add("logo", shape, "logo", channels=RGB)
        if not self.side:
            for shape in emblem(self.traits["nir_mark"], -at, 0.33, 0.055):
                self.add("dye", shape, "logo", channels=NIR)
        mirror = -1.0 if self.view == "back" else 1.0
        spot = {
            "hip left": (-0.75 * s * mirror, 0.47),
            "hip right": (0.75 * s * mirror, 0.47),
            "chest": (0.0, 0.25),
            "thigh": (0.4 * s * mirror, 0.62),
        }.get(self.traits["heat_object"])
        if spot is not None:
            self.add("object", Ellipse(*spot, 0.05, 0.05), "logo", channels=HEAT)

    def head(self) -> None:
        """Head, hair and hat."""
        r, hair, hat = self.identity.shape["head"], self.traits["hair"], self.traits["hat"]
        self.add("head", Ellipse(0.0, 0.092, 0.056 * r, 0.072 * r), "skin")
        turned = self.view == "back"
        if hair != "bald":
            low = 0.16 if hair == "long" else 0.11
            if turned:
                mane = Ellipse(0.0, 0.5 * (low + 0.015), 0.06 * r, 0.5 * low + 0.01)
                self.add("hair", mane, "hair")
            else:
                lean = -0.02 * self.facing if self.side else 0.0
                self.add("hair", Ellipse(lean, 0.045, 0.062 * r, 0.04 * r), "hair")
                if hair == "long":
                    for sign in (-1.0, 1.0):
                        if not self.side or sign == -self.facing:
                            lock = Capsule(sign * 0.058 * r, 0.06, sign * 0.064 * r, 0.18, 0.018)
                            self.add("hair", lock, "hair")
            if hair == "bun" and hat == "none":
                knot = -0.05 * self.facing if self.side else 0.0
                self.add("hair", Ellipse(knot, 0.0, 0.03, 0.026), "hair")
        if hat == "beanie":
            self.add("hat", Ellipse(0.0, 0.035, 0.066 * r, 0.05), "hat")
        elif hat == "cap":
            self.add("hat", Ellipse(0.0, 0.04, 0.064 * r, 0.042), "hat")
            brim = 0.0 if not self.side else self.facing * 0.05
            if not turned:
                self.add("hat", Ellipse(brim, 0.062, 0.062 * r, 0.013), "hat")
        elif hat == "sun hat":
            self.add("hat", Ellipse(0.0, 0.035, 0.06 * r, 0.045), "hat")
            self.add("hat", Ellipse(0.0, 0.06, 0.125, 0.02), "hat")


def person_layers(identity: Identity, view: str, stride: float = 0.02, turn: float = 0.0) -> list[Layer]:
    """The person's parts from back to front.

    `stride` is the swing of the limbs in figure units, `turn` in [-1, 1] a slight rotation.
    """
    body = _Body(identity, view, stride, turn)
    body.bag_behind()
    if body.side:
        body.arm(-1.0)
    body.legs()
    if not body.side:
        body.arm(-1.0)
    body.trunk()
    body.arm(1.0)
    body.head()
    body.bag_before()
    return body.layers
