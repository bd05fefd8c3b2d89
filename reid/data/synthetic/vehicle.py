"""The parts of a vehicle, seen obliquely: one long side and either its front or its rear.

Figure units: the vehicle is 1 wide, x in [-0.5, 0.5], y runs down with the tyres ending near 0.
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
    Paint,
    Polygon,
    Shape,
    box,
    emblem,
    mirrored,
)
from reid.data.synthetic.identity import Identity, Surface

VEHICLE_VIEWS = ("front left", "front right", "rear left", "rear right")

# Cabin along the side, from rear (0) to front (1): start, end, roof start, roof end, roof height.
CABINS = {
    "sedan": (0.16, 0.78, 0.30, 0.64, 0.46),
    "hatchback": (0.02, 0.76, 0.12, 0.60, 0.48),
    "suv": (0.0, 0.84, 0.05, 0.72, 0.56),
    "van": (0.0, 0.99, 0.0, 0.88, 0.66),
    "pickup": (0.42, 0.86, 0.48, 0.76, 0.52),
    "truck": (0.68, 1.0, 0.70, 0.96, 0.54),
}
WAIST = -0.30  # where windows begin
SILL = -0.07
CORNER = 0.18  # x at which the side meets the front or rear


class _Car:
    """Collects the layers of one vehicle in one view."""

    def __init__(self, identity: Identity, view: str, turn: float) -> None:
        self.identity, self.traits = identity, identity.traits
        self.front = view.startswith("front")
        self.mirror = -1.0 if view.endswith("left") else 1.0
        self.turn = turn
        self.tall = identity.shape["tall"]
        start, end, roof_start, roof_end, roof = CABINS[self.traits["body"]]
        self.start, self.end, self.roof_start, self.roof_end = start, end, roof_start, roof_end
        self.roof = -roof * self.tall
        self.corner = CORNER + 0.06 * turn
        self.layers: list[Layer] = []

    def along(self, s: float) -> float:
        """x of the point a share `s` from rear to front along the side."""
        length = self.corner + 0.5
        return -0.5 + length * (s if self.front else 1.0 - s)

    def add(
        self,
        tag: str,
        shape: Shape,
        surface: str | Surface,
        frame: Bounds | None = None,
        channels: slice = ALL,
    ) -> None:
        """Put one more part on top."""
        look = self.identity.surfaces[surface] if isinstance(surface, str) else surface
        self.layers.append(Layer(tag, mirrored(shape, self.mirror), look.paint, frame, channels))

    def quad(self, s0: float, s1: float, t0: float, t1: float, low: float, high: float) -> Polygon:
        """A trapezium on the side: s0..s1 at `low`, t0..t1 at `high`."""
        a = self.along
        return Polygon(((a(s0), low), (a(s1), low), (a(t1), high), (a(t0), high)))

    def side(self) -> None:
        """The long side: cargo, cabin, windows, body panel, wheels, prints."""
        roof = self.roof
        if self.traits["body"] == "truck":
            self.add("body", self.quad(0.0, 0.64, 0.0, 0.64, -0.16, -0.66 * self.tall), "body")
        self.add(
            "cabin",
            self.quad(self.start, self.end, self.roof_start, self.roof_end, WAIST, roof),
            "roof",
        )
        inset, top = 0.04, roof + 0.035
        pane = self.quad(
            self.start + inset,
            self.end - inset,
            self.roof_start + inset,
            self.roof_end - inset,
            WAIST,
            top,
        )
        self.add("window", pane, "window")
        middle = self.along(0.5 * (self.roof_start + self.roof_end))
        self.add("cabin", box(middle - 0.012, roof, middle + 0.012, WAIST), "roof")
        low = -0.22 if self.traits["body"] == "truck" else WAIST
        self.add("body", box(-0.5, low, self.corner, SILL), "body")
        r = self.identity.shape["wheel"]
        for s in (0.2, 0.8):
            self.add("wheel", Ellipse(self.along(s), -r, 0.82 * r, r), "wheel")
            self.add("rim", Ellipse(self.along(s), -r, 0.45 * r, 0.55 * r), "rim")
        x, y = self.along(0.5), -0.185
        if self.traits["body"] == "truck":
            x, y = self.along(0.32), -0.42
        for shape in emblem(self.traits["logo"], x, y, 0.075):
            self.add("logo", shape, "logo", channels=RGB)
        for shape in emblem(self.traits["nir_mark"], x, y, 0.08):
            self.add("dye", shape, "logo", channels=NIR)
        spot = {"door": 0.5, "rear": 0.1, "bonnet": 0.92}.get(self.traits["heat_object"])
        if spot is not None:
            self.add("object", Ellipse(self.along(spot), -0.19, 0.08, 0.07), "logo", channels=HEAT)

    def end_face(self) -> None:
        """The front or rear: body, glass, grille or tailgate, lights, plate."""
        c, roof = self.corner, self.roof
        if self.traits["body"] in ("truck", "pickup") and not self.front:
            roof = -0.66 * self.tall if self.traits["body"] == "truck" else WAIST - 0.02
        slope = 0.03
        if roof < WAIST - 0.05:
            top = Polygon(((c, WAIST), (0.5, WAIST), (0.5 - slope, roof + 0.01), (c - slope, roof)))
            solid = self.traits["body"] == "truck" and not self.front
            self.add("cabin", top, "body" if solid else "roof")
            if not solid:
                glass = Polygon(
                    (
                        (c + 0.025, WAIST),
                        (0.475, WAIST),
                        (0.475 - slope, roof + 0.045),
                        (c + 0.02 - slope, roof + 0.04),
                    )
                )
                self.add("window", glass, "window")
        self.add("body", box(c, WAIST, 0.5, SILL), "body")
        if self.front:
            self.add("engine", box(c + 0.03, -0.2, 0.47, -0.11), "engine", channels=HEAT)
            self.add("grille", box(c + 0.08, -0.2, 0.42, -0.13), "wheel", channels=RGB)
        lamp = _LAMP if self.front else _TAIL
        for x in (c + 0.045, 0.455):
            self.add("lamp", Ellipse(x, -0.235, 0.032, 0.026), lamp)
        self.add("plate", box(c + 0.11, -0.115, 0.39, -0.075), _PLATE)
        for x in (c + 0.05, 0.45):
            self.add("wheel", box(x - 0.035, -0.075, x + 0.035, 0.0), "wheel")
        if self.traits["heat_object"] == "exhaust" and not self.front:
            self.add("object", Ellipse(0.43, -0.06, 0.05, 0.04), "logo", channels=HEAT)

    def roof_item(self) -> None:
        """What stands on the roof."""
        kind = self.traits["roof_item"]
        x0, x1 = self.along(self.roof_start + 0.05), self.along(self.roof_end - 0.05)
        x0, x1, y = min(x0, x1), max(x0, x1), self.roof
        middle = 0.5 * (x0 + x1)
        if kind == "roof rack":
            self.add("roof", Capsule(x0, y - 0.035, x1, y - 0.035, 0.011), "rack")
            for x in (x0, middle, x1):
                self.add("roof", Capsule(x, y - 0.035, x, y, 0.009), "rack")
        elif kind == "roof box":
            self.add("roof", Ellipse(middle, y - 0.035, 0.55 * (x1 - x0), 0.045), "rack")
        elif kind == "light bar":
            self.add("roof", box(middle - 0.02, y - 0.05, middle + 0.17, y), _TAIL)
            self.add("roof", box(middle + 0.075, y - 0.05, middle + 0.17, y), "rack")
        elif kind == "sign":
            self.add("roof", box(middle - 0.07, y - 0.085, middle + 0.07, y), _LAMP)


def _fixed(name: str, r: float, g: float, b: float, nir: float, heat: float) -> Surface:
    """A surface that all vehicles share."""
    return Surface(name, name, Paint((r, g, b, nir, heat), (r, g, b, nir, heat)))


_LAMP = _fixed("white", 0.95, 0.93, 0.8, 0.8, 0.5)
_TAIL = _fixed("red", 0.8, 0.05, 0.05, 0.5, 0.4)
_PLATE = _fixed("white", 0.85, 0.85, 0.8, 0.7, 0.3)


def vehicle_layers(identity: Identity, view: str, stride: float = 0.0, turn: float = 0.0) -> list[Layer]:
    """The vehicle's parts from back to front; `turn` in [-1, 1] widens the side view.

    `stride` is ignored: it keeps the signature of `person_layers`.
    """
    car = _Car(identity, view, turn)
    car.roof_item()
    car.side()
    car.end_face()
    return car.layers
