"""The parts of a person of version 2, seen from the front, the back or a side.

Figure units: the body is 1 high, y runs down from the crown (0) to the soles (1), x from the
middle to the right of the picture. Every cue that identifies is a part with an edge or a texture.
"""

from __future__ import annotations

from reid.data.synthetic.canvas import Bounds, Capsule, Ellipse, Polygon, Shape, box, emblem
from reid.data.synthetic.version2.figure import RenderedFigure
from reid.data.synthetic.version2.parts import PLAIN, ScenePart


class _Wearer:
    """Collects the parts of one person in one view."""

    def __init__(self, figure: RenderedFigure, view: str, stride: float, turn: float) -> None:
        self.figure, self.traits, self.size = figure, figure.traits, figure.shape
        self.view, self.stride, self.turn = view, stride, turn
        self.side = view in ("left", "right")
        self.facing = -1.0 if view == "left" else 1.0
        self.girth = self.size["girth"] * (0.8 if self.side else 1.0)
        self.hip = self.size["hip"]
        self.shoulder = 0.135 * self.girth
        # The bag hangs on the person's own side: it changes sides between front and back.
        own = -1.0 if self.traits["bag_side"] == "left" else 1.0
        self.bag_x = own * (-1.0 if view == "back" else 1.0)
        self.bag_near = not self.side or self.traits["bag_side"] == view
        self.hem = self.hip + (0.19 if self.traits["garment"] == "long coat" else 0.03)
        self.torso: Bounds = (-self.shoulder, 0.165, self.shoulder, self.hem)
        self.parts: list[ScenePart] = []

    def add(
        self, tag: str, shape: Shape, surface: str, near: float = 0.0, frame: Bounds | None = None
    ) -> None:
        """Put one more part on top."""
        texture = self.figure.textures.get(surface, PLAIN)
        self.parts.append(ScenePart(tag, shape, self.figure.surfaces[surface], near, frame, texture))

    def mark(self, tag: str, shape: Shape, surface: str, near: float = 0.02) -> None:
        """A flat detail without texture: prints, pockets, bands."""
        self.parts.append(ScenePart(tag, shape, self.figure.surfaces[surface], near, bulge=0.01))

    def bag_behind(self) -> None:
        """The part of a bag that the body covers."""
        big = self.size["bag_size"]
        if self.traits["bag"] == "backpack" and self.view == "front":
            s = self.shoulder + 0.035 * big
            self.add("bag", box(-s, 0.17, s, 0.17 + 0.14 * big), "bag", -0.2)
        if self.traits["bag"] == "backpack" and self.side:
            x = -self.facing * (self.shoulder + 0.03)
            self.add("bag", Ellipse(x, 0.32, 0.085 * big, 0.125 * big), "bag")

    def bag_before(self) -> None:
        """The part of a bag that covers the body."""
        kind, x, s, big = self.traits["bag"], self.bag_x, self.shoulder, self.size["bag_size"]
        near = 0.15 if self.view != "front" else 0.03
        if kind == "backpack" and self.view == "front":
            for sign in (-1.0, 1.0):
                self.mark("bag", Capsule(sign * 0.62 * s, 0.18, sign * 0.72 * s, 0.38, 0.02), "bag")
        elif kind == "backpack" and self.view == "back":
            wide = 0.75 * s + 0.015 * big
            self.add("bag", box(-wide, 0.2, wide, 0.2 + 0.23 * big), "bag", 0.2)
            self.add("bag", Ellipse(0.0, 0.20, 0.9 * wide, 0.045), "bag", 0.2)
            self.mark("bag", box(-0.6 * wide, 0.34, 0.6 * wide, 0.34 + 0.06 * big), "trim", 0.22)
        elif kind == "shoulder bag":
            self.mark("bag", Capsule(-x * 0.7 * s, 0.18, x * 0.95 * s, 0.48, 0.016), "bag")
            if self.bag_near:
                at, half = (x * (s + 0.015) if not self.side else 0.0), 0.075 * big
                self.add("bag", box(at - half, 0.45, at + half, 0.45 + 1.6 * half), "bag", near)
        elif kind == "handbag" and self.bag_near:
            at = x * (s + 0.07) if not self.side else self.facing * 0.05
            a, b = 0.05 * big, 0.08 * big
            self.mark("bag", Capsule(at, 0.52, at, 0.58, 0.014), "bag")
            corners = ((at - a, 0.58), (at + a, 0.58), (at + b, 0.58 + 1.5 * b), (at - b, 0.58 + 1.5 * b))
            self.add("bag", Polygon(corners), "bag", near)
        elif kind == "suitcase":
            at, half = (x * (s + 0.10) if not self.side else -self.facing * 0.19), 0.078 * big
            self.mark("bag", Capsule(at, 0.55, at, 0.74, 0.012), "bag")
            self.add("bag", box(at - half, 0.97 - 3.1 * half, at + half, 0.97), "bag", 0.1)

    def legs(self) -> None:
        """Legs, footwear and the lower garment with its pockets."""
        hip, width, thick = self.hip, 0.12 * self.girth, self.size["legs"]
        frame = (-width, hip, width, 0.95)
        apart = (0.5 if not self.side else 0.12) * width * self.size["apart"]
        kind = self.traits["lower"]
        for sign in (-1.0, 1.0):
            swing = sign * self.stride * (2.2 if self.side else 0.6)
            x0, x1 = sign * 0.8 * apart, sign * apart * 1.15 + swing
            bare = kind != "trousers"
            radius = 0.036 if bare else 0.046 * thick
            near = 0.05 * sign if self.side else 0.0
            self.add("legs", Capsule(x0, hip, x1, 0.93, radius), "skin" if bare else "lower", near, frame)
            toe = self.facing * 0.025 if self.side else sign * 0.008
            self.add("shoes", Ellipse(x1 + toe, 0.965, 0.056, 0.034), "shoes", near)
            if self.traits["footwear"] == "boots":
                self.add("shoes", Capsule(x1 - 0.1 * swing, 0.82, x1, 0.95, radius + 0.006), "shoes", near)
            if kind == "shorts":
                knee = x0 + 0.4 * (x1 - x0)
                short = (-width, hip, width, 0.72)
                leg = Capsule(x0, hip, knee, 0.66, 0.054 * thick)
                self.add("lower", leg, "lower", near, short)
            if self.traits["pockets"] == "knees" and kind == "trousers":
                x = x0 + 0.55 * (x1 - x0)
                self.mark("pockets", Ellipse(x, 0.73, 0.6 * radius, 0.035), "trim", near + 0.02)
        if kind == "skirt":
            wide = 1.2 * width * thick**0.5 + 0.02
            corners = ((-width, hip - 0.02), (width, hip - 0.02), (wide, 0.75), (-wide, 0.75))
            self.add("lower", Polygon(corners), "lower")

    def arm(self, sign: float) -> None:
        """One arm: hand, sleeve and its bands."""
        s, near = self.shoulder, 0.1 * sign if self.side else 0.0
        if self.side:
            top, swing = 0.0, sign * (self.stride * 2.0 + 0.5 * self.size["arms"])
            hand = swing + 0.02 * self.facing
        else:
            top, hand = sign * s, sign * (s + 0.02 + self.size["arms"]) + self.stride * 0.5
        cut = 0.31 if self.traits["sleeves"] == "short" else 0.47
        mid = top + (cut - 0.21) / 0.30 * (hand - top)
        self.add("arm", Capsule(top, 0.21, hand, 0.51, 0.030), "skin", near)
        self.add("sleeve", Capsule(top, 0.21, mid, cut, 0.040), "sleeve", near)
        if self.traits["cuffs"] == "bands":
            x = top + 0.22 * (hand - top)
            band = box(x - 0.045, 0.265, x + 0.045, 0.295)
            self.mark("bands", band, "trim", near + 0.01)

    def trunk(self) -> None:
        """Torso with texture, fastener, belt, pockets and logo."""
        s, hem = self.shoulder, self.hem
        coat = 1.15 if self.traits["garment"] == "long coat" else 0.95
        waist = s * coat * self.size["flare"]
        top, half = 0.19, 0.5 * s
        corners = ((-half, 0.158), (half, 0.158), (s, top), (waist, hem), (-waist, hem), (-s, top))
        self.add("upper", Polygon(corners), "upper", 0.05, self.torso)
        if self.traits["garment"] != "shirt" and self.view == "front":
            self.mark("zip", Capsule(0.0, 0.17, 0.0, hem, 0.009), "trim", 0.06)
        if self.traits["belt"] == "belt":
            at = min(self.hip - 0.03, hem - 0.035)
            self.mark("belt", box(-0.98 * waist, at, 0.98 * waist, at + 0.03), "trim", 0.07)
        if self.traits["pockets"] == "hips" and self.view != "back":
            for sign in (-1.0, 1.0) if not self.side else (0.0,):
                x = sign * 0.55 * waist
                self.mark("pockets", box(x - 0.03, hem - 0.1, x + 0.03, hem - 0.05), "trim", 0.06)
        if self.view == "front":
            r = 0.052 * self.size["logo_size"]
            for shape in emblem(self.traits["logo"], self.turn * 0.03, self.size["logo_y"], r):
                self.mark("logo", shape, "logo", 0.06)

    def neck(self) -> None:
        """A hood or a scarf about the neck."""
        if self.traits["neck"] == "hood":
            wide = 0.085 if self.view == "back" else 0.075
            self.add("neck", Ellipse(0.0, 0.165, wide, 0.05 if self.view == "back" else 0.03), "sleeve", 0.08)
        elif self.traits["neck"] == "scarf":
            self.add("neck", Capsule(-0.05, 0.162, 0.05, 0.162, 0.026), "trim", 0.08)
            if self.view != "back":
                self.add("neck", Capsule(0.03, 0.17, 0.035, 0.30, 0.022), "trim", 0.08)

    def head(self) -> None:
        """Head, hair and hat."""
        r, hair, hat = self.size["head"], self.traits["hair"], self.traits["hat"]
        self.add("head", Ellipse(0.0, 0.092, 0.056 * r, 0.072 * r), "skin", 0.02)
        turned = self.view == "back"
        if hair != "bald":
            low = 0.17 if hair == "long" else 0.11
            if turned:
                mane = Ellipse(0.0, 0.5 * (low + 0.015), 0.06 * r, 0.5 * low + 0.01)
                self.add("hair", mane, "hair", 0.03)
            else:
                lean = -0.02 * self.facing if self.side else 0.0
                self.add("hair", Ellipse(lean, 0.045, 0.062 * r, 0.04 * r), "hair", 0.03)
                if hair == "long":
                    for sign in (-1.0, 1.0):
                        if not self.side or sign == -self.facing:
                            lock = Capsule(sign * 0.06 * r, 0.06, sign * 0.068 * r, 0.19, 0.02)
                            self.add("hair", lock, "hair", 0.03)
            if hair == "bun" and hat == "none":
                self.add("hair", Ellipse(-0.05 * self.facing if self.side else 0.0, 0.0, 0.034, 0.03), "hair")
        if hat == "beanie":
            self.add("hat", Ellipse(0.0, 0.03, 0.068 * r, 0.055), "hat", 0.05)
        elif hat == "cap":
            self.add("hat", Ellipse(0.0, 0.04, 0.066 * r, 0.042), "hat", 0.05)
            if not turned:
                brim = self.facing * 0.055 if self.side else 0.0
                self.add("hat", Ellipse(brim, 0.062, 0.066 * r, 0.015), "hat", 0.1)
        elif hat == "sun hat":
            self.add("hat", Ellipse(0.0, 0.03, 0.062 * r, 0.05), "hat", 0.05)
            self.add("hat", Ellipse(0.0, 0.06, 0.135, 0.022), "hat", 0.1)


def person_parts(
    figure: RenderedFigure, view: str, stride: float = 0.02, turn: float = 0.0
) -> list[ScenePart]:
    """The person's parts from back to front.

    `stride` is the swing of the limbs in figure units, `turn` in [-1, 1] a slight rotation.
    """
    body = _Wearer(figure, view, stride, turn)
    body.bag_behind()
    if body.side:
        body.arm(-1.0)
    body.legs()
    if not body.side:
        body.arm(-1.0)
    body.trunk()
    body.arm(1.0)
    body.head()
    body.neck()
    body.bag_before()
    return body.parts
