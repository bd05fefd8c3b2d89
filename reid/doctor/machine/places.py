"""Checks that outputs can be written, and which pretrained weights are available."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from reid import storage
from reid.config import load, presets
from reid.data.readers.shared.folders import file_name
from reid.doctor.finding import Check
from reid.errors import AnyReIDError
from reid.storage.checkpoints import CACHE_ENV, FILES

_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_SHOWN = 8


def storage_check(workdir: str) -> Check:
    """Write, read, list and delete a small object below the working folder; nothing stays behind."""
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        folder = storage.absolute(workdir)
        fresh = _missing_parents(folder)
        uri, data = storage.join(folder, name), os.urandom(64)
        started = time.monotonic()
        try:
            with storage.tried_once():
                storage.write_bytes(uri, data)
                same, listed = storage.read_bytes(uri) == data, uri in storage.list_files(folder)
                storage.delete_file(uri)
                gone = not storage.exists(uri)
        finally:
            _remove_empty(fresh)
    except (AnyReIDError, OSError) as error:
        remedy = "choose another --workdir (config: workdir), or repair its rights"
        if storage.is_remote(workdir):
            remedy = "set AWS_ENDPOINT_URL, AWS_REGION and the AWS credentials; the bucket must exist"
        return Check("storage", "fail", str(error), remedy)
    took = time.monotonic() - started
    if not (same and listed and gone):
        what = ", ".join(w for w, ok in (("read", same), ("listed", listed), ("deleted", gone)) if not ok)
        return Check(
            "storage", "fail", f"{folder}: an object was written but not {what}", "use another storage"
        )
    return Check(
        "storage", "ok", f"{folder}: an object was written, read, listed and deleted in {took:.2f} s"
    )


def _missing_parents(folder: str) -> list[Path]:
    """The folders that writing will create, innermost first."""
    if storage.is_remote(folder):
        return []
    path = Path(folder)
    return [p for p in (path, *path.parents) if not p.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def weights_checks() -> Iterator[Check]:
    """Pretrained CLIP weights that training would find, and those that shipped presets need but that are
    missing.
    """
    try:
        found = {**hub_weights(), **folder_weights()}
    except AnyReIDError as error:
        yield Check("weights", "fail", f"{CACHE_ENV}: {error}", "correct the variable, or unset it")
        return
    shown = [f"{arch} {tag}" for arch, tag in sorted(found)]
    more = f", … ({len(shown)} in all)" if len(shown) > _SHOWN else ""
    if shown:
        yield Check("weights", "ok", ", ".join(shown[:_SHOWN]) + more)
    for (arch, tag), names in sorted(asked_weights().items()):
        if (arch, tag) not in found:
            yield Check(
                f"weights {arch} {tag}",
                "warn",
                f"not here; {len(names)} presets need it, e.g. {names[0]}",
                f"put it at <folder>/{arch}/{tag}.safetensors and set {CACHE_ENV}=<folder>, fill the Hugging "
                "Face cache, or set model.weights to a path, an s3:// uri or random",
            )


def folder_weights() -> dict[tuple[str, str], str]:
    """(arch, tag) -> file in the folder of ANYREID_WEIGHTS."""
    root = os.environ.get(CACHE_ENV)
    if not root:
        return {}
    if not storage.exists(root):
        raise AnyReIDError(f"{root}: no such folder")
    found: dict[tuple[str, str], str] = {}
    for folder in storage.list_folders(root):
        for suffix in reversed(FILES):  # the first suffix wins
            for file in storage.list_files(folder, suffix):
                found[file_name(folder), file_name(file).removesuffix(suffix)] = file
    return found


def hub_weights() -> dict[tuple[str, str], str]:
    """(arch, tag) -> file in the Hugging Face cache, of all that open_clip knows; nothing is downloaded."""
    try:
        import open_clip
        from huggingface_hub import try_to_load_from_cache
    except Exception:  # told by the package checks
        return {}
    found: dict[tuple[str, str], str] = {}
    for arch, tag in open_clip.list_pretrained():
        repo = str((open_clip.get_pretrained_cfg(arch, tag) or {}).get("hf_hub") or "").strip("/")
        for name in _HUB_FILES if repo.count("/") == 1 else ():
            hit = try_to_load_from_cache(repo, name)
            if isinstance(hit, str) and Path(hit).is_file():
                found.setdefault((arch, tag), hit)
    return found


def asked_weights() -> dict[tuple[str, str], list[str]]:
    """(arch, tag) -> the shipped presets that start from it."""
    asked: dict[tuple[str, str], list[str]] = {}
    for name in presets():
        model = load(name).model
        tag, arch = getattr(model, "weights", None), getattr(getattr(model, "tower", None), "arch", None)
        named = isinstance(tag, str) and tag != "random" and ":" not in tag and os.path.sep not in tag
        if named and arch:
            asked.setdefault((str(arch), str(tag)), []).append(name)
    return asked
