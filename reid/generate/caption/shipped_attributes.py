"""The attributes that ship with AnyReID: 13 of persons, 6 of vehicles, as many as STMI has (2603.00695).

The paper does not list them; these are ours, and a YAML file of the same form replaces them.
"""

from __future__ import annotations

from reid.generate.caption.attribute_schema import AttributeQuestion, AttributeSchema

_COLOURS = (
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "beige",
)
_CAR_COLOURS = (
    "black",
    "white",
    "silver",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "brown",
    "beige",
)
_LIGHT = {
    "daylight": "daylight",
    "dusk": "dusk",
    "artificial light": "artificial light",
    "dark": "the dark",
}


def _same(*values: str) -> dict[str, str]:
    return dict(zip(values, values, strict=True))


PERSON = AttributeSchema(
    subject="person",
    attributes=(
        AttributeQuestion(name="gender", ask="apparent gender", values={"male": "man", "female": "woman"}),
        AttributeQuestion(
            name="age_group",
            ask="apparent age group",
            values={"child": "young", "teenager": "teenage", "adult": "adult", "elderly": "elderly"},
        ),
        AttributeQuestion(
            name="viewpoint",
            ask="side of the person that the camera sees",
            values={"front": "front", "back": "back", "left": "left side", "right": "right side"},
        ),
        AttributeQuestion(name="illumination", ask="light of the scene", values=_LIGHT),
        AttributeQuestion(
            name="upper_colour", ask="main colour of the upper clothes", values=_same(*_COLOURS)
        ),
        AttributeQuestion(
            name="upper_type",
            ask="kind of upper clothes",
            values=_same("t-shirt", "shirt", "sweater", "hoodie", "jacket", "coat", "vest", "dress"),
        ),
        AttributeQuestion(
            name="lower_colour", ask="main colour of the lower clothes", values=_same(*_COLOURS)
        ),
        AttributeQuestion(
            name="lower_type",
            ask="kind of lower clothes",
            values=_same("trousers", "jeans", "shorts", "leggings", "skirt", "dress"),
        ),
        AttributeQuestion(name="shoe_colour", ask="main colour of the shoes", values=_same(*_COLOURS)),
        AttributeQuestion(
            name="shoe_type",
            ask="kind of shoes",
            values={
                "trainers": "trainers",
                "leather": "leather shoes",
                "boots": "boots",
                "sandals": "sandals",
                "heels": "heels",
            },
        ),
        AttributeQuestion(
            name="hair_length",
            ask="length of the hair",
            values={
                "bald": "no hair",
                "short": "short hair",
                "medium": "shoulder-length hair",
                "long": "long hair",
                "covered": "covered hair",
            },
        ),
        AttributeQuestion(name="glasses", ask="glasses", values={"yes": "glasses", "no": ""}),
        AttributeQuestion(
            name="carried_object",
            ask="the object carried",
            values={
                "none": "",
                "backpack": "backpack",
                "shoulder bag": "shoulder bag",
                "handbag": "handbag",
                "suitcase": "suitcase",
                "umbrella": "umbrella",
                "phone": "phone",
                "other": "object",
            },
        ),
    ),
    sentence=(
        ("a {age_group} {gender}", "a {gender}", "a {age_group} person", "a person"),
        (" with {hair_length} and {glasses}", " with {hair_length}", " with {glasses}"),
        (
            ", wearing a {upper_colour} {upper_type}",
            ", wearing a {upper_type}",
            ", wearing {upper_colour} upper clothes",
        ),
        (", {lower_colour} {lower_type}", ", {lower_type}", ", {lower_colour} lower clothes"),
        (", {shoe_colour} {shoe_type}", ", {shoe_type}", ", {shoe_colour} shoes"),
        (", carrying a {carried_object}",),
        (
            ", seen from the {viewpoint} in {illumination}",
            ", seen from the {viewpoint}",
            ", in {illumination}",
        ),
    ),
)

VEHICLE = AttributeSchema(
    subject="vehicle",
    attributes=(
        AttributeQuestion(name="colour", ask="main colour", values=_same(*_CAR_COLOURS)),
        AttributeQuestion(
            name="type",
            ask="kind of vehicle",
            values=_same(
                "sedan",
                "hatchback",
                "estate car",
                "SUV",
                "sports car",
                "pickup",
                "van",
                "truck",
                "bus",
                "taxi",
            ),
        ),
        AttributeQuestion(
            name="make",
            ask="make",
            values={
                **_same("Audi", "BMW", "BYD", "Chevrolet", "Citroen", "Ford", "Honda", "Hyundai", "Kia"),
                **_same("Mazda", "Mercedes", "Nissan", "Peugeot", "Renault", "Skoda", "Toyota", "Volkswagen"),
                "other": "",
            },
        ),
        AttributeQuestion(
            name="viewpoint",
            ask="side of the vehicle that the camera sees",
            values=_same("front", "rear", "side", "front corner", "rear corner", "top"),
        ),
        AttributeQuestion(
            name="light_state",
            ask="lights of the vehicle",
            values={
                "off": "lights off",
                "headlights on": "headlights on",
                "tail lights on": "tail lights on",
                "brake lights on": "brake lights on",
            },
        ),
        AttributeQuestion(
            name="notable_feature",
            ask="most notable feature",
            values={
                "none": "",
                "roof rack": "a roof rack",
                "sunroof": "a sunroof",
                "lettering": "lettering on its body",
                "load": "a visible load",
                "damage": "visible damage",
                "stickers": "stickers",
            },
        ),
    ),
    sentence=(
        (
            "a {colour} {make} {type}",
            "a {colour} {type}",
            "a {make} {type}",
            "a {type}",
            "a {colour} {make}",
            "a {colour} vehicle",
            "a {make} vehicle",
            "a vehicle",
        ),
        (" with {notable_feature} and {light_state}", " with {notable_feature}", " with {light_state}"),
        (", seen from the {viewpoint}",),
    ),
)

SHIPPED = {"person": PERSON, "vehicle": VEHICLE}
