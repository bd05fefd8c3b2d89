"""The parts of a vehicle of version 2, seen obliquely: one long side and either its front or its rear.

Figure units: the vehicle is 1 wide, x in [-0.5, 0.5], y runs down with the tyres ending near 0.
"""

from __future__ import annotations

from reid.data.synthetic.canvas import Bounds, Capsule, Ellipse, Polygon, Shape, box, emblem, mirrored
from reid.data.synthetic.vehicle import CABINS, CORNER, SILL, WAIST
from reid.data.synthetic.version2.figure import RenderedFigure
from reid.data.synthetic.version2.parts import PLAIN, ScenePart


class _Carriage:
    """Collects the parts of one vehicle in one view."""

    def __init__(self, figure: RenderedFigure, view: str, turn: float) -> None:
        self.figure, self.traits, self.size = figure, figure.traits, figure.shape
        self.front = view.startswith("front")
        self.mirror = -1.0 if view.endswith("left") else 1.0
        self.truck = self.traits["body"] == "truck"
        self.start, self.end, self.roof_start, self.roof_end, roof = CABINS[self.traits["body"]]
        self.roof = -roof * self.size["tall"]
        self.waist = WAIST + self.size["waist"]
        self.corner = CORNER + self.size["corner"] + 0.04 * turn
        self.parts: list[ScenePart] = []

    def along(self, s: float) -> float:
        """x of the point a share `s` from rear to front along the side."""
        length = self.corner + 0.5
        return -0.5 + length * (s if self.front else 1.0 - s)

    def add(
        self, tag: str, shape: Shape, surface: str, near: float = 0.0, frame: Bounds | None = None
    ) -> None:
        """Put one more part on top."""
        texture = self.figure.textures.get(surface, PLAIN)
        self.parts.append(
            ScenePart(tag, mirrored(shape, self.mirror), self.figure.surfaces[surface], near, frame, texture)
        )

    def mark(self, tag: str, shape: Shape, surface: str, near: float = 0.02) -> None:
        """A flat detail without texture."""
        self.parts.append(
            ScenePart(tag, mirrored(shape, self.mirror), self.figure.surfaces[surface], near, bulge=0.01)
        )

    def quad(self, s0: float, s1: float, t0: float, t1: float, low: float, high: float) -> Polygon:
        """A trapezium on the side: s0..s1 at `low`, t0..t1 at `high`."""
        a = self.along
        return Polygon(((a(s0), low), (a(s1), low), (a(t1), high), (a(t0), high)))

    def side(self) -> None:
        """The long side: cargo, cabin, windows, body panel, wheels, prints."""
        roof, tall = self.roof, self.size["tall"]
        if self.truck:
            self.add("body", self.quad(0.0, 0.64, 0.0, 0.64, -0.16, -0.66 * tall), "body", -0.1)
        cabin = self.quad(self.start, self.end, self.roof_start, self.roof_end, self.waist, roof)
        self.add("cabin", cabin, "roof", -0.15)
        s = 0.04
        pane = self.quad(
            self.start + s,
            self.end - s,
            self.roof_start + s,
            self.roof_end - s,
            self.waist,
            roof + 0.035,
        )
        self.mark("window", pane, "window", -0.18)
        middle = self.along(0.5 * (self.roof_start + self.roof_end))
        self.mark("cabin", box(middle - 0.012, roof, middle + 0.012, self.waist), "roof", -0.15)
        low = -0.22 if self.truck else self.waist
        self.add("body", box(-0.5, low, self.corner, SILL), "body")
        line = self.along(0.5)
        if self.traits["sill"] == "running board":
            self.add("sill", box(line - 0.2, SILL - 0.02, line + 0.2, SILL + 0.015), "rack", 0.1)
        elif self.traits["sill"] == "skirt line":
            self.mark("sill", box(-0.48, SILL - 0.055, self.corner, SILL - 0.03), "logo")
        self.wheels()
        x, y = self.along(self.size["logo_at"]), -0.19
        if self.truck:
            x, y = self.along(0.32), -0.42
        for shape in emblem(self.traits["logo"], x, y, 0.07 * self.size["logo_size"]):
            self.mark("logo", shape, "logo")

    def wheels(self) -> None:
        """Tyres and rims."""
        r, spokes = self.size["wheel"], self.traits["spokes"]
        for s in (self.size["rear_axle"], self.size["front_axle"]):
            x = self.along(s)
            self.add("wheel", Ellipse(x, -r, 0.82 * r, r), "wheel", 0.05)
            self.mark("rim", Ellipse(x, -r, 0.5 * r, 0.6 * r), "rim", 0.06)
            if spokes == "ring":
                self.mark("rim", Ellipse(x, -r, 0.25 * r, 0.3 * r), "wheel", 0.06)
            elif spokes == "cross":
                self.mark("rim", box(x - 0.08 * r, -1.55 * r, x + 0.08 * r, -0.45 * r), "wheel", 0.06)

    def end_face(self) -> None:
        """The front or rear: body, glass, lights, plate, ladder or spoiler."""
        c, roof, waist = self.corner, self.roof, self.waist
        if self.traits["body"] in ("truck", "pickup") and not self.front:
            roof = -0.66 * self.size["tall"] if self.truck else waist - 0.02
        if roof < waist - 0.05:
            top = Polygon(((c, waist), (0.5, waist), (0.47, roof + 0.01), (c - 0.03, roof)))
            solid = self.truck and not self.front
            self.add("cabin", top, "body" if solid else "roof", 0.05)
            if not solid:
                glass = ((c + 0.025, waist), (0.475, waist), (0.445, roof + 0.045), (c - 0.01, roof + 0.04))
                self.mark("window", Polygon(glass), "window", 0.05)
        self.add("body", box(c, waist, 0.5, SILL), "body", 0.1)
        if self.front:
            self.mark("grille", box(c + 0.06, -0.2, 0.44, -0.12), "engine", 0.12)
        for x in (c + 0.045, 0.455):
            self.mark("lamp", Ellipse(x, -0.235, 0.034, 0.028), "lamp" if self.front else "tail", 0.12)
        self.mark("plate", box(c + 0.11, -0.115, 0.39, -0.075), "plate", 0.12)
        for x in (c + 0.05, 0.45):
            self.add("wheel", box(x - 0.035, -0.075, x + 0.035, 0.0), "wheel")
        if self.front:
            return
        if self.traits["spare"] == "ladder":
            self.mark("spare", Capsule(0.44, roof + 0.03, 0.44, SILL, 0.014), "rack", 0.15)
            self.mark("spare", Capsule(0.38, roof + 0.03, 0.38, SILL, 0.014), "rack", 0.15)
        elif self.traits["spare"] == "spoiler":
            self.add("spare", box(c - 0.02, roof - 0.03, 0.5, roof + 0.005), "rack", 0.15)

    def roof_item(self) -> None:
        """What stands on the roof."""
        kind = self.traits["roof_item"]
        x0, x1 = self.along(self.roof_start + 0.05), self.along(self.roof_end - 0.05)
        x0, x1, y = min(x0, x1), max(x0, x1), self.roof
        middle = 0.5 * (x0 + x1)
        if kind == "roof rack":
            self.add("roof", Capsule(x0, y - 0.035, x1, y - 0.035, 0.013), "rack")
            for x in (x0, middle, x1):
                self.add("roof", Capsule(x, y - 0.035, x, y, 0.010), "rack")
        elif kind == "roof box":
            self.add("roof", Ellipse(middle, y - 0.035, 0.55 * (x1 - x0), 0.05), "rack")
        elif kind == "light bar":
            self.add("roof", box(middle - 0.04, y - 0.055, middle + 0.17, y), "tail")
            self.add("roof", box(middle + 0.075, y - 0.055, middle + 0.17, y), "rack")
        elif kind == "sign":
            self.add("roof", box(middle - 0.07, y - 0.09, middle + 0.07, y), "lamp")


def vehicle_parts(
    figure: RenderedFigure, view: str, stride: float = 0.0, turn: float = 0.0
) -> list[ScenePart]:
    """The vehicle's parts from back to front; `turn` in [-1, 1] widens the side view.

    `stride` is ignored: it keeps the signature of `person_parts`.
    """
    car = _Carriage(figure, view, turn)
    car.roof_item()
    car.side()
    car.end_face()
    return car.parts
