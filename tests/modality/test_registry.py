"""The registry: what is no entry, and entries that do not fit together, are one clear message each."""

from __future__ import annotations

import copy
import json
import pickle

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from reid.data.shards.schema import SCHEMA
from reid.errors import ConfigError
from reid.modality import INFRARED, ORDER, Modality, ModalityEntry, Target
from reid.modality.registry import RESERVED, arranged, entries


def entry(name: str = "uv", order: int = 35, **fields: object) -> ModalityEntry:
    return ModalityEntry(name=name, order=order, words="an ultraviolet photo", **fields)  # type: ignore[arg-type]


def with_ours(*more: object) -> dict[str, object]:
    """Our own entries, and others at the places acme:0, acme:1, …"""
    return {**{f"ours.{e.name}": e for e in entries()}, **{f"acme:{i}": e for i, e in enumerate(more)}}


def test_a_new_entry_takes_its_place_in_the_order() -> None:
    found = [e.name for e in arranged(with_ours(entry()))]
    assert found.index("tir") < found.index("uv") < found.index("sketch")
    assert [n for n in found if n != "uv"] == [m.value for m in ORDER]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (entry("nir"), r"Two modalities are called 'nir': ours\.nir and acme:0; rename one"),
        (entry(spellings=("thermal",)), r"spelled 'thermal' in names of files: ours\.tir and acme:0"),
        (entry(doubtful=("ir",)), r"spelled 'ir' in names of files: ours\.nir and acme:0"),
        (entry(spellings=("sketch",)), r"spelled 'sketch' in names of files: ours\.sketch and acme:0"),
        (entry(spellings=("u", "u")), r"spelled 'u' in names of files: acme:0 and acme:0"),
        (entry("mask"), r"acme:0: 'mask' is the name of another column"),
        (entry("speech", kind="text"), r"ours\.text and acme:0: samples have one kind of text"),
        (entry(photo=True), r"ours\.rgb and acme:0: one modality is the plain photo"),
        ({"name": "uv"}, r"acme:0: a dict; expected a reid\.modality\.ModalityEntry"),
    ],
)
def test_entries_that_do_not_fit_are_one_message(other: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arranged(with_ours(other))


@pytest.mark.parametrize("name", ["", "UV", "2d", "ultra-violet", "ultra_violet", "uv+rgb"])
def test_a_name_fits_columns_and_subsets(name: str) -> None:
    with pytest.raises(ConfigError, match="a name is made of small letters"):
        entry(name)


@pytest.mark.parametrize("word", ["Ultra", "ultra_violet", "a.b", ""])
def test_a_spelling_is_one_word_of_a_file_name(word: str) -> None:
    with pytest.raises(ConfigError, match="no word of small letters and digits"):
        entry(spellings=(word,))


def test_other_columns_of_shards_are_no_names() -> None:
    assert set(SCHEMA.names) - {m.value for m in ORDER} <= RESERVED


def test_a_name_is_one_object_and_a_plain_string_to_others() -> None:
    assert Modality("nir") is Modality.NIR is pickle.loads(pickle.dumps(Modality.NIR))
    assert copy.deepcopy(Target.MASK) is Target.MASK
    assert json.loads(json.dumps({Modality.NIR: [Modality.TIR]})) == {"nir": ["tir"]}
    assert pa.array(ORDER).to_pylist() == [m.value for m in ORDER]
    assert type(Modality.NIR.value) is type(str(Modality.NIR)) is str
    assert sorted(INFRARED, reverse=True) == [Modality.TIR, Modality.NIR]
    with pytest.raises(ValueError, match="'nix' is not a valid Modality"):
        Modality("nix")


def test_a_field_of_a_configuration_takes_names_and_refuses_others_with_the_nearest() -> None:
    field = TypeAdapter(dict[Modality, Target])
    assert field.validate_python({"nir": "mask"}) == {Modality.NIR: Target.MASK}
    assert field.dump_json(field.validate_json('{"nir": "mask"}')) == b'{"nir":"mask"}'
    assert field.json_schema()["additionalProperties"]["enum"][-1] == "mask"
    with pytest.raises(ValidationError, match=r"Unknown target 'maks'\. Did you mean 'mask'"):
        field.validate_python({"nir": "maks"})
