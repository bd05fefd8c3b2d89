"""The registered protocols, as data, and how a configuration chooses or composes one.

| data | name | queries → gallery | not counted, besides own sample and leakage | galleries |
|---|---|---|---|---|
| any | `cross_camera` | by roles | same identity and camera | one |
| any | `cross_scene` | by roles | same identity and location (MSVR310) | one |
| any | `roles` | by roles | identical files | one |
| any | `all` | everything → everything | identical files | one |
| Market-1501 and its like | `market1501` | by roles | same identity and camera | one |
| CUHK-PEDES, ICFG-PEDES, RSTPReid | `text_to_image` | captions (sketch, infrared) → all RGB | nothing; a caption keeps its photo | one |
| ORBench | `orbench` | every subset, each of its modalities in turn the anchor → all RGB | nothing | one |
| Market-Sketch-1K | `mask1k`, `mask1k_multi` | each sketch, or all of a person's as one query → all RGB | nothing | one |
| SYSU-MM01 | `sysu_all`, `sysu_indoor` | infrared (sketch, text) → RGB (indoor: cam1, cam2) | query's location | 10, one shot |
| SYSU-MM01 | `sysu_all_multi`, `sysu_indoor_multi` | the same | the same | 10, ten shots |
| RegDB | `regdb` | each modality → the other | nothing | one |
| LLCM | `llcm` | each modality → the other | same identity and camera | 10, one shot |
| any | `mix` | each camera modality → all of them mixed | identical files | one |
| any | `mix_cam` | the same | and the query's camera | one |
| any | `mix_cam_id` | the same | and same identity and camera | one |
| any | `mix_id` | the same | and same identity and modality | one |
| any | `uni_modal` | each camera modality → itself | and the query's camera | one |
| SYSU-MM01 | `sysu_mix`, `sysu_mix_cam`, `sysu_mix_cam_id`, `sysu_mix_id`, `sysu_uni_modal` | as above | cameras 2 and 3 are one location | 10, one shot |
| RegDB | `regdb_mix`, `regdb_mix_id`, `regdb_uni_modal` | as above | as above; its cameras are its modalities, so uni-modal drops files alone | one |
| LLCM | `llcm_mix`, `llcm_mix_id`, `llcm_uni_modal` | as above | as above | 10, one shot per (identity, camera, modality) |

Sources: the data sets' own protocols as in AGW and LLCM's code; Mix-* from MixER (arXiv 2501.13307), whose
galleries are reconstructed from its tables; ORBench's keys and averages from ReID5o (arXiv 2506.09385). The names of SYSU-MM01 expect what its reader gives: camid 0 to 5
for cam1 to cam6, and one location for cam2 and cam3. The default, `auto`, is none of them: `reid.evaluate.protocols.choice`.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

from reid.config.overrides import AUTO_PROTOCOL, merge
from reid.config.protocols.spec import ProtocolConfig
from reid.config.typed import Section, check, did_you_mean
from reid.errors import ConfigError

FIELD = "evaluate.protocol"
PROTOCOLS: dict[str, ProtocolConfig] = {}


def register(protocol: ProtocolConfig) -> ProtocolConfig:
    """Register a protocol under its name, and return it.

    Raises ConfigError if the name is taken.

    >>> register(PROTOCOLS["all"])
    Traceback (most recent call last):
    reid.errors.ConfigError: There already is a protocol 'all'.
    """
    if protocol.name in PROTOCOLS:
        raise ConfigError(f"There already is a protocol {protocol.name!r}.")
    PROTOCOLS[protocol.name] = protocol
    return protocol


def registered_protocol(name: str) -> ProtocolConfig:
    """The registered protocol of a name.

    Raises ConfigError for an unknown name; the message lists the known ones and the nearest.

    >>> registered_protocol("llcm").gallery.sampling.trials
    10
    """
    if name == AUTO_PROTOCOL:
        raise ConfigError(f"{FIELD}: auto is a choice by labels, no protocol; name cross_camera or roles.")
    if name not in PROTOCOLS:
        known = sorted([AUTO_PROTOCOL, *PROTOCOLS])
        raise ConfigError(f"{FIELD}: unknown protocol {name!r}.{did_you_mean(name, known)}")
    return PROTOCOLS[name]


def compose(value: Any) -> str | ProtocolConfig:
    """Validate the value of `evaluate.protocol`.

    Args:
        value: a registered name, "auto", or a mapping. A mapping may start from a registered protocol with
            `extends: <name>`; its own keys win.

    Returns:
        The name, or the composed protocol. "auto" stays a name: the labels decide later.

    Raises ConfigError naming the field and the nearest known name, also when a mapping has a registered name
    and other fields than that protocol.

    >>> compose({"extends": "sysu_all", "gallery": {"sampling": {"shots": 10}}}).name
    'sysu_all-changed'
    """
    if isinstance(value, ProtocolConfig):
        return value
    if isinstance(value, str):
        return value if value == AUTO_PROTOCOL else registered_protocol(value).name
    if not isinstance(value, dict):
        raise ConfigError(f"{FIELD}: give a registered name or a mapping, not {value!r}.")
    tree = dict(value)
    if (base := tree.get("extends")) is not None:
        known = registered_protocol(str(base))
        if len(tree) == 1:
            return known.name
        own = {"name": f"{known.name}-changed", "summary": None, **tree}
        tree = merge(known.model_dump(mode="json"), own)
    protocol: ProtocolConfig = check(ProtocolConfig, tree, FIELD)
    if PROTOCOLS.get(protocol.name, protocol) != protocol:
        raise ConfigError(f"{FIELD}.name: {protocol.name!r} is a registered protocol; choose another name.")
    return protocol


def summary_of(protocol: ProtocolConfig) -> str:
    """One sentence about a protocol; if it extends another, that one's sentence and the changed fields.

    >>> summary_of(compose({"extends": "roles", "ranks": [1, 20]}))
    "The data set's query and gallery roles as they are; cameras play no part. Changed: ranks=[1, 20]."
    """
    if protocol.summary is not None or protocol.extends is None:
        return protocol.summary or "Composed in the configuration."
    base = registered_protocol(protocol.extends)
    theirs, ours = (_leaves(p.model_dump(mode="json")) for p in (base, protocol))
    changes = [
        f"{name}={value}"
        for name, value in ours.items()
        if theirs.get(name, ...) != value
        and (
            value is not None or any(known.startswith(name) for known in theirs)
        )  # else a new section's null
    ]
    return f"{summary_of(base)} Changed: {', '.join(changes) or 'nothing'}."


def protocol_config(value: str | Section) -> ProtocolConfig:
    """The fields of a protocol, from its name or its section.

    >>> protocol_config("regdb").asked
    'both'
    """
    return value if isinstance(value, ProtocolConfig) else registered_protocol(str(value))


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted field: value} of what decides numbers."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if prefix or key not in {"name", "summary", "extends"}:
            inner = isinstance(value, dict)
            found |= _leaves(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


_ONE_SHOT = {"per": ["pid", "camid"], "shots": 1, "trials": 10}
_BY_MODALITY = {"per": ["pid", "camid", "modality"], "shots": 1, "trials": 10}
_FREE = {"roles": False}
_FILE = ["same_sample", "identical_file"]


def _add(name: str, summary: str, *bases: str, **fields: Any) -> None:
    tree: dict[str, Any] = {}
    for base in bases:
        tree = merge(tree, PROTOCOLS[base].model_dump(mode="json"))
    register(check(ProtocolConfig, merge(tree, {"name": name, "summary": summary, **fields}), name))


_add(
    "cross_camera",
    "Find the identity in other cameras, with the data set's query and gallery roles.",
    exclude=["same_camera", "same_sample"],
)
_add(
    "cross_scene",
    "Find the identity in other scenes, whatever the camera, with the data set's query and gallery roles.",
    exclude=["same_scene", "same_sample"],
)
_add("roles", "The data set's query and gallery roles as they are; cameras play no part.", exclude=_FILE)
_add(
    "all",
    "Every sample of the split against every other, whatever its role or camera.",
    exclude=_FILE,
    query=_FREE,
    gallery=_FREE,
)
_add(
    "market1501",
    "Market-1501: queries against the gallery as published, found in other cameras.",
    exclude=["same_camera", "same_sample"],
)
_add(
    "text_to_image",
    "Text to image: every caption against every RGB image; sketches and infrared made from an image never "
    "find that image.",
    asked="to_rgb",
    query=_FREE,
    gallery=_FREE,
    exclude=[],
    leakage="visual_only",
)
_add(
    "orbench",
    "ORBench: every subset against all RGB images, once for each modality that the queries hang on; what "
    "accompanies it is of the same identity.",
    asked="to_rgb",
    query=_FREE,
    gallery=_FREE,
    exclude=[],
    leakage="never",
    companions={"anchor": "each"},
    averages={
        "one modality": {"sizes": 1},
        "two modalities": {"sizes": 2},
        "three modalities": {"sizes": 3},
        "four modalities": {"sizes": 4},
    },
)
_add(
    "mask1k",
    "Market-Sketch-1K: each sketch against all RGB images.",
    asked="to_rgb",
    query=_FREE,
    gallery=_FREE,
    exclude=["same_sample"],
    leakage="never",
)
_add(
    "mask1k_multi",
    "Market-Sketch-1K, several artists: all sketches of a person as one query against all RGB images.",
    "mask1k",
    companions={"anchor": "sketch", "samples": {"sketch": "all"}},
)
_add(
    "sysu_all",
    "SYSU-MM01, all-search, single shot: infrared against one RGB image per identity and camera.",
    asked="to_rgb",
    query={**_FREE, "one_per": "image"},
    gallery={**_FREE, "sampling": _ONE_SHOT},
    exclude=["location", "same_sample"],
    cmc="identities",
    ranks=[1, 5, 10, 20],
    pair={"from": "rgb", "seed": 0},
)
_add(
    "sysu_all_multi",
    "SYSU-MM01, all-search, multi-shot: infrared against up to ten RGB images per identity and camera.",
    "sysu_all",
    gallery={"sampling": {"shots": 10}},
)
_add(
    "sysu_indoor",
    "SYSU-MM01, indoor-search, single shot: infrared against one RGB image per identity and indoor camera.",
    "sysu_all",
    gallery={"cameras": [0, 1]},  # folders cam1 and cam2
)
_add(
    "sysu_indoor_multi",
    "SYSU-MM01, indoor-search, multi-shot: infrared against up to ten RGB images per identity and indoor "
    "camera.",
    "sysu_indoor",
    gallery={"sampling": {"shots": 10}},
)
_add(
    "regdb",
    "RegDB: every image of one modality against every image of the other, both ways; one of its ten splits.",
    asked="both",
    query=_FREE,
    gallery=_FREE,
)
_add(
    "llcm",
    "LLCM: every image of one modality against one image per identity and camera of the other, both ways.",
    "regdb",
    gallery={"sampling": _ONE_SHOT},
    exclude=["same_camera", "same_sample"],
)
_add(
    "mix",
    "Mixed gallery: each camera modality against items of all of them.",
    query=_FREE,
    gallery={**_FREE, "mixed": True},
    exclude=_FILE,
)
_add(
    "mix_cam",
    "Mixed gallery, other cameras: each camera modality against items of all of them.",
    "mix",
    exclude=["camera", *_FILE],
)
_add(
    "mix_cam_id",
    "Mixed gallery, right answers in other cameras: each camera modality against items of all of them.",
    "mix",
    exclude=["same_camera", *_FILE],
)
_add(
    "mix_id",
    "Mixed gallery, right answers in other modalities: each camera modality against items of all of them.",
    "mix",
    exclude=["same_modality", *_FILE],
)
_add(
    "uni_modal",
    "Each camera modality against itself in other cameras.",
    "mix",
    asked="same",
    gallery={"mixed": False},
    exclude=["camera", *_FILE],
)
for _kind in ("mix", "mix_cam", "mix_cam_id", "mix_id", "uni_modal"):
    _words = PROTOCOLS[_kind].summary
    _by_place = {"camera": "location", "same_camera": "same_scene"}  # cameras 2 and 3 see one room
    _add(
        f"sysu_{_kind}",
        f"SYSU-MM01, single shot. {_words}",
        _kind,
        gallery={"sampling": _ONE_SHOT},
        exclude=[_by_place.get(name, name) for name in PROTOCOLS[_kind].exclude],
        cmc="identities",
        ranks=[1, 5, 10, 20],
    )
for _kind in ("mix", "mix_id", "uni_modal"):
    _words = PROTOCOLS[_kind].summary
    _add(f"llcm_{_kind}", f"LLCM. {_words}", _kind, gallery={"sampling": _BY_MODALITY})
    _add(
        f"regdb_{_kind}",
        f"RegDB. {'Each camera modality against itself.' if _kind == 'uni_modal' else _words}",
        _kind,
        exclude=_FILE if _kind == "uni_modal" else list(PROTOCOLS[_kind].exclude),
    )
