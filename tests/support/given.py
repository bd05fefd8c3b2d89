"""What tests need and the repository does not hold: the user names its folder, or those tests are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.places import ROOT

BESIDE = ROOT.parent / "shared"
"""Looked into, by the name of what is needed, when the variable is not set."""


def given(variable: str, name: str, *contents: str) -> Path:
    """The folder that an environment variable names, with all of `contents` in it.

    Args:
        variable: of the environment, for example `ANYREID_TEST_DATA`.
        name: of the folder to look for beside the checkout when the variable is not set.
        contents: files or folders that have to be in it, as paths relative to it.

    A variable that is set and wrong fails the test; one that is not set skips it if there is no such folder.
    """
    named = os.environ.get(variable)
    folder = Path(named).expanduser().resolve() if named else BESIDE / name
    lacking = [part for part in contents if not (folder / part).exists()]
    if named and lacking:
        pytest.fail(f"{variable}={named}: no {' and no '.join(lacking)} there.", pytrace=False)
    if lacking:
        pytest.skip(f"{variable} is not set: it names the folder with {' and '.join(contents)}")
    return folder
