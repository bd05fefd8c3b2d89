"""Configuration of the folder reader."""

from __future__ import annotations

import codecs
import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from reid.config import Infrared, Plugin, Section
from reid.data.labels import tidy
from reid.data.readers.shared.text_files import AUTO
from reid.data.shards.schema import ROLES, SPLITS
from reid.modality import INFRARED, PHOTO, Modality, Target


class Columns(Section):
    """The manifest's column names. Only `file`, `pid` and those you rename must be there."""

    file: str = Field("file", description="column with the path of the image, relative to the reader's path")
    pid: str = Field("pid", description="column with the identity's number")
    camid: str = Field("camid", description="column with the camera's number")
    split: str = Field(
        "split", description="column with the split or role, e.g. train, val, test, query, gallery"
    )
    role: str = Field("role", description="column with the role: query or gallery")
    modality: str = Field("modality", description="column with the image's modality")
    capture: str = Field("capture", description="column with a key that joins the images of one capture")
    caption: str = Field("caption", description="column with a sentence about the image")


class RoleRule(Section):
    """What a word in the `split` or `role` column, or the name of a top folder, stands for."""

    split: Literal["train", "val", "test"] | None = Field(
        description="split that the word stands for; null: none, so that test_fraction cuts the identities"
    )
    roles: tuple[Literal["query", "gallery"], ...] | None = Field(
        None, description="roles that the word stands for; null: none given"
    )
    modality: Modality | None = Field(
        None, description="modality that replaces the file's own; null: the file's own"
    )


KNOWN_ROLES: dict[str, RoleRule] = {
    **{split: RoleRule.model_validate({"split": split}) for split in SPLITS},
    **{role: RoleRule.model_validate({"split": "test", "roles": (role,)}) for role in ROLES},
}


_EXAMPLES = {"camera": "cam(\\d+)", "identity": "([^/_]+)_[^/]*$"}
_SPLIT_STEMS: dict[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("query", "queries", "probe", "probes"), "query"),
    **dict.fromkeys(("gallery", "galleries"), "gallery"),
}
_SPELLED = re.compile(
    rf"({'|'.join(sorted(_SPLIT_STEMS, key=len, reverse=True))})"
    r"[-_ ]*(set|split|data|images?|imgs?|pictures|photos|bbox|crops)?"
)


def spelled_role(word: str) -> RoleRule | None:
    """What another spelling of a split or role stands for; None for a word that is none.

    >>> spelled_role("Training").split, spelled_role("gallery_bbox").roles, spelled_role("train_171")
    ('train', ('gallery',), None)
    """
    match = _SPELLED.fullmatch(tidy(word).casefold())
    return KNOWN_ROLES[_SPLIT_STEMS[match[1]]] if match else None


def may_be_split(word: str) -> bool:
    """Whether a name has the word of a split or role in it, beside others.

    >>> [may_be_split(name) for name in ("train_171", "test2017", "0001", "contest")]
    [True, True, False, False]
    """
    return any(part in _SPLIT_STEMS for part in re.split(r"[^a-z]+", word.lower()))


class Config(Plugin):
    """`path`, `manifest` and `texts` may hold environment variables: ${PHOTOS}/shop."""

    name: Literal["folder"] = Field("folder", description="reader of your own folders of images")
    path: str = Field(description="folder or s3:// prefix with the images")
    manifest: str | None = Field(
        None,
        description="CSV or Parquet file with one row for each image, relative to path; default: the folder "
        "names are read",
    )
    columns: Columns = Field(Columns(), description="names of the manifest's columns")
    delimiter: str = Field(
        AUTO,
        description="character between the manifest's columns, or tab; auto: the one that makes its header",
    )
    encoding: str = Field(
        AUTO,
        description="encoding of the manifest, e.g. utf-8, cp1252, gb18030; auto: found out",
    )
    roles: dict[str, RoleRule] = Field(
        {}, description="further words for splits and roles, besides train, val, test, query and gallery"
    )
    modality: Modality = Field(PHOTO, description="modality of files that name none")
    modality_names: dict[str, Modality] = Field(
        {},
        description="further names of modalities, e.g. {VIS: rgb, LWIR: tir}; they override the known ones",
    )
    infrared: Infrared = Field(INFRARED[0], description="modality of a folder imgs-ir beside imgs")
    generated: tuple[Target, ...] = Field(
        (),
        description="modalities or masks that a tool made from the images; they are marked as "
        "generated, so that a query never finds its source",
    )
    texts: str | None = Field(
        None, description="JSON file {identity: {text: ...}} with captions, relative to path"
    )
    test_fraction: float = Field(
        0.5, ge=0, le=1, description="share of the identities that go to test when no split is given"
    )
    split_seed: int = Field(0, description="random seed for choosing the test identities")
    camera_pattern: str | None = Field(
        None, description="regular expression for a file's path below `path`; group 1 is the camera"
    )
    identity_pattern: str | None = Field(
        None,
        description="regular expression for a file's path below `path`; group 1 is the identity, in place of "
        "the folder's name",
    )

    @field_validator("delimiter")
    @classmethod
    def _is_a_character(cls, value: str) -> str:
        value = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if value != AUTO and (len(value) != 1 or value in '"\r\n'):
            raise ValueError("one character such as ';', or tab, or auto")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            if value != AUTO:
                codecs.lookup(value)
        except LookupError:
            raise ValueError("no encoding that is known here, e.g. utf-8, cp1252, gb18030; or auto") from None
        return value

    @field_validator("camera_pattern", "identity_pattern")
    @classmethod
    def _has_a_group(cls, value: str | None, info: ValidationInfo) -> str | None:
        try:
            groups = re.compile(value or "()").groups
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if groups < 1:
            what = str(info.field_name).partition("_")[0]
            raise ValueError(f"needs a group for the {what}, e.g. '{_EXAMPLES[what]}'")
        return value

    @model_validator(mode="after")
    def _says_identities_once(self) -> Config:
        if self.manifest and self.identity_pattern:
            raise ValueError("a manifest gives identities in its pid column: leave out identity_pattern")
        return self
