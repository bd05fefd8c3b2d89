"""Where the weights of a learned generator may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import WeightsError
from reid.generate.weights import find_file, find_model
from tests.support.replace_storage import replace_storage


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Something like a folder of save_pretrained."""
    folder = tmp_path / "weights" / "sam-tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x")
    return folder


def test_a_path_is_taken_as_it_is(model: Path) -> None:
    assert find_model(str(model)) == str(model)
    assert find_file(str(model / "model.safetensors")) == str(model / "model.safetensors")


def test_a_name_is_looked_for_in_the_weights_folder(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREID_WEIGHTS", str(model.parent))
    assert find_model("sam-tiny") == str(model)
    assert find_file("sam-tiny/model") == str(model / "model.safetensors")


def test_a_name_in_the_hugging_face_cache_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = {("facebook/sam", "config.json"): "/cache/config.json"}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *key: cached.get(key))
    assert find_model("facebook/sam") == "facebook/sam"
    with pytest.raises(WeightsError, match="Three ways"):
        find_model("facebook/other")


def test_nothing_is_downloaded_unless_asked() -> None:
    with pytest.raises(WeightsError, match="Three ways"):
        find_model("somebody/model")
    with pytest.raises(WeightsError, match="Three ways"):
        find_model("my folder/no name")
    assert find_model("somebody/model", download=True) == "somebody/model"


def test_a_remote_folder_is_copied_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, read = "s3://bucket/sam-tiny", []

    def read_bytes(file: str) -> bytes:
        read.append(file)
        return (model / file.rsplit("/", 1)[-1]).read_bytes()

    replace_storage(monkeypatch, "list_files", lambda _: [f"{uri}/{p.name}" for p in model.iterdir()])
    replace_storage(monkeypatch, "read_bytes", read_bytes)
    copy = find_model(uri)
    assert find_model(uri) == copy and len(read) == 2
    assert (Path(copy) / "model.safetensors").read_bytes() == b"x"


def test_what_is_nowhere_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"sam\.pth.*not on this machine.*\.safetensors or \.pth"):
        find_file(str(tmp_path / "sam.pth"))
    with pytest.raises(WeightsError, match=r"without config\.json"):
        find_model(str(tmp_path))
