"""Manifest: what a table tells of each picture."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from reid.data.labels import Blanks, tidy
from reid.data.readers.folder.config import Columns, Config, RoleRule
from reid.data.readers.folder.parts import LAYOUT, FilePart, FolderSource
from reid.data.readers.shared.file_index import FileIndex
from reid.data.readers.shared.folders import file_name
from reid.data.readers.shared.table_rows import ListedRow
from reid.data.readers.shared.tables import TableFormat, read_table
from reid.errors import DataError
from reid.modality import Modality, Target

_CELLS = tuple(Columns.model_fields)
_NEEDED = ("file", "pid")
_NO_LABEL = ("pid", "camid", "caption")
"""Cells in which "unknown" says nothing."""


def table_format(config: Config) -> TableFormat:
    """How a manifest is written, as configured."""
    advice = f"Tell the file's own names in data.reader.columns.\n{LAYOUT}"
    return TableFormat(config.delimiter, config.encoding, "data.reader", advice)


def needed_columns(config: Config) -> list[str]:
    """Names of the columns without which a manifest cannot be read."""
    renamed = {c for c in _CELLS if getattr(config.columns, c) != getattr(Columns(), c)}
    return [getattr(config.columns, c) for c in sorted({*_NEEDED, *renamed})]


def manifest_parts(source: FolderSource, manifest: str) -> Iterator[FilePart]:
    """A part for every row, as it is read. A row of no use names its line and the remedy in `problem`.

    Raises DataError for a missing file or column and for what is not a table.
    """
    uri = source.beside(manifest, "data.reader.manifest")
    columns = source.config.columns
    wanted = [getattr(columns, c) for c in _CELLS]
    table = read_table(uri, wanted, needed_columns(source.config), table_format(source.config))
    if not len(table.rows):
        raise DataError(f"{uri}: only a header, no row below line 1; list the pictures.\n{LAYOUT}")
    rows = _Rows(source, file_name(uri), bool({columns.split, columns.role} & set(table.header)))
    yield from map(rows.part, table.rows)
    source.notes += [*table.notes, *rows.notes()]


class _Rows:
    """Makes parts of the rows of one table."""

    def __init__(self, source: FolderSource, name: str, divided: bool) -> None:
        self.source, self.name, self.divided = source, name, divided
        """`divided`: the table has a split or a role column."""
        columns = source.config.columns
        self.columns = {cell: getattr(columns, cell) for cell in _CELLS}
        self.used = set(self.columns.values())
        self.files, self.blanks = FileIndex(source.root, "row"), Blanks()
        self.trained: list[int] = []
        """Lines with the split train and a role."""

    def notes(self) -> list[str]:
        """What was read otherwise than written, once all rows are parts."""
        notes = [*self.blanks.notes(self.name), *self.files.notes(self.name)]
        if self.trained:
            rows = f"{len(self.trained)} rows of train have a role (first: line {self.trained[0]})"
            notes.append(f"{self.name}: {rows}, which means nothing there; correct the split or the role")
        return notes

    def part(self, row: ListedRow) -> FilePart:
        """A row as a part."""
        cells = {
            cell: self.blanks.cell(column, row.cells.get(column, ""), cell in _NO_LABEL)
            for cell, column in self.columns.items()
        }
        others = {k: self.blanks.cell(k, text) for k, text in row.cells.items() if k not in self.used}
        where, source = f"{self.name} line {row.line}", self.source
        problems = ["has more cells than the header; quote texts that hold a comma"] if row.overflow else []
        if not cells["pid"]:
            written = row.cells.get(self.columns["pid"], "")
            what = f"no identity but {written!r}" if written else "no identity"
            problems.append(f"has {what}; fill its pid")
        split, role = (_rule(source, name, cells[name], problems) for name in ("split", "role"))
        if self.divided and not split and not role and not problems:
            problems.append("has neither a split nor a role; fill one")
        if split and role and split.split == "train" and role.roles:
            self.trained.append(row.line)
        is_mask = tidy(cells["modality"]).casefold() == Target.MASK.value
        modality = _modality(source, "" if is_mask else cells["modality"], role or split, problems)
        found = self.files.find(cells["file"]) if cells["file"] else None
        if found and found.problem:
            problems.append(found.problem)
        if is_mask and not cells["capture"]:
            problems.append("is a mask of no capture; fill its capture, and that of its picture")
        if found and modality is Modality.TEXT and not is_mask:
            problems.append("gives a file for modality text; put the text into the caption column")
        if not found and not cells["caption"]:
            problems.append("has neither a file nor a caption; fill one or remove the row")
        relative = _relative(source.root, found.uri, cells["file"]) if found else where
        return FilePart(
            sample=cells["capture"] or relative,
            where=where,
            identity=cells["pid"],
            split=(split.split if split else None) or (role.split if role else None),
            roles=(role.roles if role else None) or (split.roles if split else None),
            camera=cells["camid"] or source.camera(relative),
            modality=modality,
            uri=found.uri if found else None,
            caption=cells["caption"] or None,
            extra={k: text for k, text in others.items() if text},
            problem=f"{where} {'; and '.join(problems)}." if problems else None,
            is_mask=is_mask,
        )


def _relative(root: str, uri: str, listed: str) -> str:
    """A file's path below the root as on disk, so that one file listed in two spellings is one sample."""
    return uri.removeprefix(f"{root}/") if uri.startswith(f"{root}/") else posixpath.normpath(listed)


def _rule(source: FolderSource, column: str, word: str, problems: list[str]) -> RoleRule | None:
    rule = source.rule(word)
    if word and rule is None:
        known = ", ".join(source.rules)
        problems.append(f"has the {column} {word!r}; known: {known}; name it in data.reader.roles")
    return rule


def _modality(source: FolderSource, word: str, rule: RoleRule | None, problems: list[str]) -> Modality:
    if rule and rule.modality:
        return rule.modality
    found = source.modalities.get(tidy(word).casefold()) if word else source.config.modality
    if found is None:
        known = ", ".join([*source.modalities, Target.MASK.value])
        problems.append(f"has the modality {word!r}; known: {known}; name it in data.reader.modality_names")
    return found or source.config.modality
