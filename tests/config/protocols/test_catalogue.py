"""Protocols as data: the registered ones, and composing one in a configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest

import reid.config.protocols.catalogue as catalogue
from reid.config import load, override
from reid.config.protocols.catalogue import PROTOCOLS, compose, register
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import ConfigError
from reid.evaluate.protocols.protocol import get_protocol

PRESET = "baseline/synthetic"


def test_the_table_of_the_module_lists_every_name() -> None:
    listed = set(re.findall(r"`(\w+)`", (catalogue.__doc__ or "").partition("Sources:")[0]))
    assert listed == set(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_registered_protocol_says_in_words_what_it_does(name: str) -> None:
    protocol = get_protocol(name)
    assert protocol.summary.endswith(".")
    assert protocol.config.extends is None
    assert ProtocolConfig.model_validate(protocol.config.model_dump(mode="json")) == protocol.config


def test_a_configuration_names_a_protocol_or_composes_one() -> None:
    assert load(PRESET, ["evaluate.protocol=roles"]).evaluate.protocol == "roles"
    own = load(PRESET, ["evaluate.protocol={name: mine, exclude: [camera, same_sample], cmc: identities}"])
    protocol = get_protocol(own.evaluate.protocol)
    assert (protocol.name, protocol.config.exclude) == ("mine", ("camera", "same_sample"))
    assert protocol.summary == "Composed in the configuration. CMC counts identities, not images."
    assert load(own.model_dump(mode="json")) == own


def test_extending_changes_only_what_is_said_and_the_summary_says_it() -> None:
    config = load(PRESET, ["evaluate.protocol={extends: sysu_all, gallery: {sampling: {shots: 10}}}"])
    multi, shipped = get_protocol(config.evaluate.protocol), PROTOCOLS["sysu_all_multi"]
    assert multi.name == "sysu_all-changed"
    different = {"name": shipped.name, "summary": shipped.summary, "extends": None}
    assert multi.config.model_copy(update=different) == shipped
    assert "Changed: gallery.sampling.shots=10." in multi.summary
    assert load(config.model_dump(mode="json")) == config
    again = get_protocol(override(config, {"evaluate.protocol.cmc": "images"}).evaluate.protocol)
    assert "Changed: gallery.sampling.shots=10, cmc=images." in again.summary
    assert (
        "Changed: gallery.sampling=None."
        in get_protocol(
            override(config, {"evaluate.protocol.gallery.sampling": None}).evaluate.protocol
        ).summary
    )


def test_a_field_is_overridden_in_a_named_protocol() -> None:
    named = load(PRESET, ["evaluate.protocol=sysu_all", "evaluate.protocol.leakage=never"])
    assert get_protocol(named.evaluate.protocol).config.extends == "sysu_all"
    default = load({**minimal(), "evaluate": {}}, ["evaluate.protocol.leakage=never"])
    assert get_protocol(default.evaluate.protocol).config.extends == "cross_camera"


def minimal() -> dict[str, Any]:
    tree = load(PRESET).model_dump(mode="json")
    return {key: tree[key] for key in ("name", "data", "model")}


def test_a_yaml_that_extends_another_protocol_does_not_inherit_fields_of_the_first() -> None:
    base = {**minimal(), "evaluate": {"protocol": {"extends": "sysu_all", "cmc": "images"}}}
    merged = catalogue.merge(base, {"evaluate": {"protocol": {"extends": "llcm", "ranks": [1]}}})
    assert merged["evaluate"]["protocol"] == {"extends": "llcm", "ranks": [1]}
    deeper = catalogue.merge(base, {"evaluate": {"protocol": {"ranks": [1]}}})
    assert deeper["evaluate"]["protocol"] == {"extends": "sysu_all", "cmc": "images", "ranks": [1]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cross_cam", r"^evaluate\.protocol: unknown protocol 'cross_cam'\. Did you mean 'cross_camera'\?"),
        ({"extends": "sysu_al"}, r"^evaluate\.protocol: unknown .*mean 'sysu_all'"),
        ({"exclud": []}, r"^evaluate\.protocol\.exclud: unknown key.*mean 'exclude'"),
        ({"exclude": ["same_camra"]}, r"^evaluate\.protocol\.exclude: unknown rule .*mean 'same_camera'"),
        ({"query": {"one": "image"}}, r"^evaluate\.protocol\.query\.one: unknown key.*mean 'one_per'"),
        (
            {"gallery": {"sampling": {"shot": 1}}},
            r"^evaluate\.protocol\.gallery\.sampling\.shot: unknown key.*mean 'shots'",
        ),
        ({"gallery": {"sampling": {"per": ["camid"]}}}, r"\.per: give pid first"),
        ({"gallery": {"sampling": {"method": "permutation"}}}, r"file in permutations belong together"),
        ({"gallery": {"sampling": {"permutations": "x.mat"}}}, r"file in permutations belong together"),
        ({"pair": {"from": "rbg"}}, r"pair\.from: Unknown modality .*mean 'rgb'"),
        ({"leakage": "sometimes"}, r"^evaluate\.protocol\.leakage: .*'always', 'visual_only' or 'never'"),
        ({"leakage": "never", "exclude": ["leakage"]}, r"drop one of them"),
        ({"name": "a/b"}, r"^evaluate\.protocol\.name"),
        ({"name": "roles"}, r"'roles' is a registered protocol"),
        (7, r"^evaluate\.protocol: give a registered name or a mapping, not 7"),
    ],
)
def test_a_mistake_names_its_field_and_the_nearest_name(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load({**minimal(), "evaluate": {"protocol": value}})


def test_leakage_may_be_named_as_a_rule_too() -> None:
    config = compose({"name": "mine", "exclude": ["leakage"]})
    words = get_protocol(config).exclusions  # type: ignore[arg-type]
    assert len(words) == 1 and words[0].startswith("items that the query was generated from")


def test_an_unknown_protocol_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError, match=r"'cross_cam'.*mean 'cross_camera'.*all, auto, cross_camera, .*, roles"
    ):
        get_protocol("cross_cam")


def test_a_protocol_is_added_by_one_entry_and_a_taken_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reid.config.protocols.catalogue.PROTOCOLS", dict(PROTOCOLS))
    mine = ProtocolConfig(name="mine", summary="Nothing is excluded.", exclude=())
    register(mine)
    assert get_protocol("mine").config is mine
    assert get_protocol("mine").exclusions[:-1] == ()  # but for leakage
    with pytest.raises(ConfigError, match="already"):
        register(mine)
