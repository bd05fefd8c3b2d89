"""What a storage refuses for good is one error with its remedy, and nothing else is taken for it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from reid.errors import StorageRefusal
from reid.storage import refusals
from reid.storage.refusals import refusal, refusals_told, unreachable


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("LanceError(IO): Unable to copy data to file: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_names_the_file_the_free_space_and_the_remedy(error: Exception) -> None:
    told = str(refusal("/dev/shm/no/such/run.json", error))
    assert told.startswith("/dev/shm/no/such/run.json: cannot be written")
    assert "are free on its disk" in told and "Make room there" in told and "same command" in told


def test_a_full_temporary_folder_can_be_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals.tempfile, "gettempdir", lambda: str(tmp_path))
    full = OSError(errno.ENOSPC, "full")
    assert "TMPDIR" in str(refusal(str(tmp_path / "anyreid-checkpoint-1" / "a"), full))
    assert "TMPDIR" not in str(refusal(str(tmp_path / "work" / "a"), full))


@pytest.mark.parametrize("code", ["ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "UNKNOWN (HTTP status 403)"])
def test_a_refused_key_names_the_variables(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_clock_off", lambda: 3.0)
    error = unreachable("s3://bucket/a", OSError(f"AWS Error {code} during HeadObject operation"))
    assert isinstance(error, StorageRefusal)
    assert "AWS_SECRET_ACCESS_KEY" in str(error) and "clock" not in str(error)


def test_a_librarys_long_error_is_told_in_a_few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_clock_off", lambda: None)
    long = (
        "LanceError(IO): Generic S3 error: Server returned non-2xx status code: 403 Forbidden: <?xml version="
    )
    error = RuntimeError(
        f"{long} <Error><Code>SignatureDoesNotMatch</Code><Message>The request</Message></Error>"
    )
    assert "cannot be accessed (SignatureDoesNotMatch): the store refuses" in str(
        refusal("s3://bucket/g", error)
    )


@pytest.mark.parametrize(
    ("code", "off"), [("ACCESS_DENIED", -3600.0), ("REQUEST_TIME_TOO_SKEWED", None)], ids=["measured", "told"]
)
def test_a_wrong_clock_is_named_also_where_the_store_only_refuses(
    code: str, off: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_clock_off", lambda: off)
    told = str(unreachable("s3://bucket/a", OSError(f"AWS Error {code} during HeadObject operation")))
    assert "clock" in told and "NTP" in told
    assert ("60 minutes" in told) == (off is not None)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("s3://bucket/a", OSError("AWS Error NETWORK_CONNECTION during HeadObject operation")),
        ("/data/a", PermissionError(errno.EACCES, "Permission denied")),
        ("/data/a", OSError("HTTP status 403")),
    ],
)
def test_any_other_error_is_no_refusal(uri: str, error: OSError) -> None:
    assert refusal(uri, error) is None
    assert not isinstance(unreachable(uri, error), StorageRefusal)


def test_within_a_block_only_refusals_become_another_error() -> None:
    with pytest.raises(StorageRefusal, match=r"/dev/shm/a: cannot be written"), refusals_told("/dev/shm/a"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(ValueError, match=r"other"), refusals_told("/dev/shm/a"):
        raise ValueError("other")
