"""Weights are found in whatever wraps them, and a file that is something else is told as what it is."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from reid.errors import StorageError, WeightsError
from reid.storage.checkpoints import not_finite, plain_names, read_exact, read_state
from reid.storage.run_files import pinned_weights, read_weights

STATE = {"conv.weight": torch.arange(4.0).view(2, 2), "bn.running_var": torch.ones(2)}


def named(before: str) -> dict[str, Tensor]:
    return {before + name: tensor for name, tensor in STATE.items()}


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() >= STATE.keys() and all(torch.equal(found[k], v) for k, v in STATE.items())


def pickled(tree: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(tree, stream, **options)
    return stream.getvalue()


def written(folder: Path, data: bytes, name: str = "w.pt") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


WRAPPERS = [
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.module._orig_mod.",
    "net.",
    "state_dict.",
    "_fsdp_wrapped_module.",
    "_forward_module.model.",
]


@pytest.mark.parametrize("before", WRAPPERS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_wrappers_put_before_names_is_taken_off(before: str, suffix: str, tmp_path: Path) -> None:
    data = pickled(named(before)) if suffix == ".pt" else safetensors_bytes(named(before))
    assert read_state(written(tmp_path, data, f"w{suffix}")).keys() == STATE.keys()


def test_compiled_and_sharded_layers_inside_are_named_as_they_were() -> None:
    inner = {
        "block.0._orig_mod.conv.weight": torch.ones(1),
        "block.1._checkpoint_wrapped_module.conv.weight": torch.ones(1),
    }
    assert list(plain_names(inner)) == ["block.0.conv.weight", "block.1.conv.weight"]


def test_an_averaged_model_beside_its_counter_is_found() -> None:
    assert same(plain_names(named("module.") | {"n_averaged": torch.tensor(7)}))


def test_two_networks_keep_the_prefixes_that_tell_them_apart() -> None:
    both = named("model.") | named("net.")
    assert plain_names(both) == both


CONTAINERS: list[Any] = [
    {"state_dict": STATE, "epoch": 3},
    {"model": STATE, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}},
    {"model_state_dict": STATE},
    {"module": STATE},
    {"net": STATE, "mean": torch.zeros(3)},
    {"network": {"state_dict": STATE}},
    {"model": {"state_dict": named("module._orig_mod.")}, "epoch": torch.tensor(3)},
    {"student": STATE, "epoch": 9},
    [STATE],
    (STATE, 12),
    [{"model": STATE}, "sgd"],
    {"state_dict": [STATE]},
    {name: nn.Parameter(tensor) for name, tensor in STATE.items()},
]


@pytest.mark.parametrize("tree", CONTAINERS, ids=range(len(CONTAINERS)))
@pytest.mark.parametrize("zipped", [True, False])
def test_containers_of_training_scripts_are_opened(tree: Any, zipped: bool, tmp_path: Path) -> None:
    data = pickled(tree, _use_new_zipfile_serialization=zipped)
    found = read_state(written(tmp_path, data))
    assert same(found) and not any(tensor.requires_grad for tensor in found.values())


def test_the_content_says_what_a_file_is_and_not_its_suffix(tmp_path: Path) -> None:
    assert same(read_state(written(tmp_path, safetensors_bytes(STATE), "w.pth")))
    assert same(read_state(written(tmp_path, pickled(STATE), "w.safetensors")))


def test_a_file_of_our_own_is_read_with_its_names_as_they_are(tmp_path: Path) -> None:
    given = named("model.")
    assert read_exact(written(tmp_path, safetensors_bytes(given))).keys() == given.keys()


def test_several_networks_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    data = pickled({"generator": STATE, "critic": STATE})
    with pytest.raises(WeightsError, match=r"w\.pt.*generator \(2 tensors\), critic \(2 tensors\)"):
        read_state(written(tmp_path, data))


def torchscript() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), stream)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return stream.getvalue()


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, conv=np.ones(2))
    return stream.getvalue()


OTHER_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "page": (
        lambda: b"\n<!DOCTYPE html><head><title>Sign in</title>",
        r"an HTML page \('Sign in'\), not weights",
    ),
    "small page": (lambda: b"<html>403</html>", "an HTML page, not weights"),
    "store": (
        lambda: b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
        r"XML answer \(NoSuchKey\)",
    ),
    "json": (lambda: json.dumps({"error": "rate limit"}).encode(), "a text file that begins"),
    "lfs": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a Git LFS pointer.*git lfs pull",
    ),
    "annex": (lambda: b"/annex/objects/SHA256E-s9--00.pt\n", "a git-annex pointer.*git annex get"),
    "empty": (lambda: b"", "an empty file"),
    "gzip": (lambda: gzip.compress(pickled(STATE)), "a gzip archive. Unpack"),
    "tar": (tar, "a tar archive. Unpack"),
    "zip": (lambda: zipped("vit/weights.pth"), r"a zip archive \(vit/weights\.pth\). Unpack"),
    "numpy": (npz, "a NumPy archive"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file, as Keras"),
    "torchscript": (torchscript, r"a TorchScript archive.*torch\.jit\.load"),
    "module": (
        lambda: pickled(nn.Linear(2, 2)),
        r"torch\.nn\.modules\.linear\.Linear.*save `model\.state_dict",
    ),
    "old module": (
        lambda: pickled(nn.Linear(2, 2), _use_new_zipfile_serialization=False),
        r"torch\.nn\.modules\.linear\.Linear",
    ),
    "options": (lambda: pickled({"model": STATE, "args": argparse.Namespace(a=1)}), r"argparse\.Namespace"),
    "noise": (lambda: bytes(range(129, 256)) * 3, "not a file of weights"),
    "noise like a pickle": (lambda: bytes(range(128, 256)) * 3, "a damaged checkpoint"),
    "optimizer": (
        lambda: pickled({"optimizer": {"state": {}}, "epoch": 3}),
        "no tensors by name.*optimizer, epoch",
    ),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_other_files_are_told_as_what_they_are(kind: str, name: str, tmp_path: Path) -> None:
    make, words = OTHER_FILES[kind]
    with pytest.raises(WeightsError, match=rf"(?s){name}: .*{words}"):
        read_state(written(tmp_path, make(), name))


@pytest.mark.parametrize("left", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors"])
def test_a_cut_file_is_told_as_cut(kind: str, left: float, tmp_path: Path) -> None:
    state = {name: torch.randn(64, 64) for name in STATE}
    whole = {
        "zip": lambda: pickled(state),
        "pickle": lambda: pickled(state, _use_new_zipfile_serialization=False),
        "safetensors": lambda: safetensors_bytes(state),
    }[kind]()
    with pytest.raises(WeightsError, match=r"cut\.pt: cut short: [\d,]+ "):
        read_state(written(tmp_path, whole[: int(len(whole) * left)], "cut.pt"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_none_are_told_with_tensor_and_file(
    value: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    broken = torch.ones(3, dtype=dtype)
    broken[1] = value
    with pytest.raises(
        WeightsError, match=r"bad\.pt: 1 of 3 tensors hold NaN or infinity, first 'head\.bias'"
    ):
        read_state(written(tmp_path, pickled(STATE | {"head.bias": broken}), "bad.pt"))


def test_masks_of_attention_may_hold_infinity_and_counters_are_no_matter() -> None:
    state = {"attn_mask": torch.full((2, 2), float("-inf")), "steps": torch.tensor(3)}
    assert not not_finite(state)
    assert not_finite({"attn_mask": torch.tensor([float("nan")])}) == ["attn_mask"]


def test_where_a_training_starts_is_a_file_or_a_run(tmp_path: Path) -> None:
    file = written(tmp_path, pickled(STATE))
    assert pinned_weights(file) == file and same(read_weights(file))
    for place, told in ((tmp_path / "none.pt", "no such file of weights"), (tmp_path, "no finished run")):
        with pytest.raises(WeightsError, match=told):
            pinned_weights(str(place))


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(StorageError, match=r"nowhere\.pt: no such file"):
        read_state("nowhere.pt")
