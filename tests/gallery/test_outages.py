"""A job waits for the store of its gallery, and for nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reid.errors import GalleryError, StorageError
from reid.gallery.outages import outlasting
from reid.gallery.store import Gallery
from tests.support.s3 import Relay


def failing(*errors: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return "done"

    return calls, call


@pytest.mark.parametrize(
    "error",
    [
        StorageError("s3://b/g: cannot be read or written (LanceError(IO): Generic S3 error: x)."),
        GalleryError("s3://b/g: cannot be read (error sending request for url)."),
    ],
)
def test_a_store_that_is_out_is_asked_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREID_STORAGE_RETRY_S", "30")
    calls, call = failing(error)
    assert outlasting("s3://b/g", call) == "done"  # type: ignore[arg-type]
    assert len(calls) == 2


@pytest.mark.parametrize(
    "error",
    [
        StorageError("s3://b/g: (Generic S3 error: Client error with status 403 Forbidden: AccessDenied)."),
        GalleryError("s3://b/g: unknown gallery format."),
        ValueError("Generic S3 error"),
    ],
)
def test_a_refusal_or_another_error_is_raised_at_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYREID_STORAGE_RETRY_S", "30")
    calls, call = failing(error)
    with pytest.raises(type(error)):
        outlasting("s3://b/g", call)  # type: ignore[arg-type]
    assert len(calls) == 1


@pytest.mark.slow
def test_a_real_store_that_comes_back_is_waited_for(
    bucket: str, relay: Relay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gallery = Gallery.create(f"{bucket}/gallery", 4, ["rgb"], "m", "run")
    monkeypatch.setenv("ANYREID_STORAGE_RETRY_S", "120")
    relay.cut()
    threading.Timer(5.0, relay.restore).start()
    assert outlasting(gallery.uri, gallery.count) == 0
