"""What libraries print while files are read becomes a finding and does not reach the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from reid.doctor.library_messages import library_messages, messages_finding
from tests.support.places import ROOT


def test_lines_that_go_past_python_are_collected(capfd: pytest.CaptureFixture[str]) -> None:
    with library_messages() as said:
        os.write(2, b"TIFFReadDirectory: Warning, unknown tag 33550\n")
        warnings.warn("Corrupt EXIF data", stacklevel=1)
    assert said == ["TIFFReadDirectory: Warning, unknown tag 33550", "Corrupt EXIF data"]
    assert "TIFFReadDirectory" not in capfd.readouterr().err
    (found,) = messages_finding(said)
    assert (found.level, found.count) == ("info", 2) and "Corrupt EXIF data" in str(found.example)


def test_progress_still_reaches_the_terminal_and_stderr_is_given_back() -> None:
    code = (
        "import os, sys; from reid.doctor.library_messages import library_messages\n"
        "with library_messages() as said:\n"
        "    print('progress', file=sys.stderr); os.write(2, b'noise')\n"
        "print('after', said, file=sys.stderr); os.write(2, b'direct')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "progress\nafter ['noise']\ndirect"


def test_an_error_passes_through() -> None:
    with pytest.raises(ValueError, match="broken"), library_messages():
        raise ValueError("broken")


def test_no_lines_are_no_finding() -> None:
    assert messages_finding([]) == []
