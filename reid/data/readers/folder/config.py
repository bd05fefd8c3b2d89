"""Configuration of the folder reader."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from reid.config import Plugin, Section
from reid.data.shards.schema import ROLES, SPLITS
from reid.modality import Modality, Target


class Columns(Section):
    """The manifest's column names. Only `file`, `pid` and those you rename must be there."""

    file: str = "file"
    pid: str = "pid"
    camid: str = "camid"
    split: str = "split"
    role: str = "role"
    modality: str = "modality"
    capture: str = "capture"
    caption: str = "caption"


class RoleRule(Section):
    """What a word in the `split` or `role` column, or the name of a top folder, stands for."""

    split: Literal["train", "val", "test"]
    roles: tuple[Literal["query", "gallery"], ...] | None = None
    modality: Modality | None = Field(None, description="overrides the file's own modality")


KNOWN_ROLES: dict[str, RoleRule] = {
    **{split: RoleRule.model_validate({"split": split}) for split in SPLITS},
    **{role: RoleRule.model_validate({"split": "test", "roles": (role,)}) for role in ROLES},
}


class Config(Plugin):
    """`path`, `manifest` and `texts` may hold environment variables: ${PHOTOS}/shop."""

    name: Literal["folder"] = "folder"
    path: str = Field(description="folder or s3:// prefix")
    manifest: str | None = Field(None, description="CSV, relative to path; default: folders tell")
    columns: Columns = Columns()
    roles: dict[str, RoleRule] = Field({}, description="more words than train, val, test, query and gallery")
    modality: Modality = Field(Modality.RGB, description="of files that name none")
    modality_names: dict[str, Modality] = Field(
        {}, description="more names than our own, e.g. {VIS: rgb, LWIR: tir}; they outweigh ours"
    )
    infrared: Literal[Modality.NIR, Modality.TIR] = Field(
        Modality.NIR, description="what a folder imgs-ir beside imgs holds"
    )
    generated: tuple[Target, ...] = Field(
        (), description="what a tool made from the pictures: labelled so, that it never finds its source"
    )
    texts: str | None = Field(None, description="JSON {identity: {text: ...}}, relative to path")
    test_fraction: float = Field(
        0.5, ge=0, le=1, description="identities that go to test when nothing says the split"
    )
    split_seed: int = 0
    camera_pattern: str | None = Field(
        None, description="regex on the file's path below `path`; group 1 is the camera"
    )

    @field_validator("camera_pattern")
    @classmethod
    def _has_a_group(cls, value: str | None) -> str | None:
        try:
            groups = re.compile(value or "()").groups
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if groups < 1:
            raise ValueError("needs a group for the camera, e.g. 'cam(\\d+)'")
        return value
