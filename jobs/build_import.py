"""Build a shard set from a tree of plain files, e.g. from what an export wrote.

Reads FOLDER as its manifest.jsonl says. Without one, a folder is one identity, and the pictures of other
modalities lie in imgs-sketch/ and so on beside imgs/. Writes a shard set as build does, to
<workdir>/shards. Nothing is generated unless a configuration or an override says so.

Example:

  python -m jobs.build import exported
  python -m jobs.build import exported --preset flexireid/grocery train.epochs=3
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.build import build
from jobs.common import ConfigOption, DebugOption, JsonOption, PresetOption, run_verb
from jobs.dry_run import DryRunOption
from reid.errors import UsageError

if TYPE_CHECKING:
    from reid.doctor.data.recipes import BuildCommand


def main_import(
    folder: Annotated[str, typer.Argument(help="The tree: a folder or s3:// prefix.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Dotted overrides, as for build.", metavar="KEY=VALUE")
    ] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build from a tree. Nothing is generated unless a configuration or an override says so.

    A tree with manifest.jsonl is read as it says; one without as folders of identities (reader `folder`).
    """
    if "=" in folder.partition("/")[0]:
        raise UsageError(f"import: give the folder first, then overrides; {folder!r} is no folder.")
    given = list(overrides or [])
    if config or preset:
        build(
            [f"data.reader={json.dumps(_section(folder))}", *given], config, preset, dry_run, as_json, debug
        )
        return
    found = _recipe(folder, given)
    build(list(found.overrides), None, found.preset, dry_run, as_json, debug)


def _section(folder: str) -> dict[str, str]:
    """The reader that fits a tree."""
    from reid import storage
    from reid.data.readers.shared import sample_tree
    from reid.data.readers.shared.folders import expand

    manifest = storage.join(expand(folder, "FOLDER"), sample_tree.MANIFEST)
    return {"name": "exported" if storage.exists(manifest) else "folder", "path": folder}


def _recipe(folder: str, given: list[str]) -> BuildCommand:
    """The general preset with what the tree holds: its own name, its modalities, no generators."""
    from reid import storage
    from reid.data.readers.base import open_reader
    from reid.data.readers.shared import sample_tree
    from reid.data.readers.shared.folders import expand
    from reid.doctor.data.recipes import recipe
    from reid.modality import Modality, canonical

    root = expand(folder, "FOLDER")
    path = folder if "$" in folder else root
    told = storage.join(root, sample_tree.EXPORT)
    found = storage.read_json(told) if storage.exists(told) else {}
    own = [f"{key}={found['dataset']}" for key in ("name", "data.name") if found.get("dataset")]
    name = _section(folder)["name"]
    reading = recipe(name, path, [*own, *given]).config()
    records = open_reader(reading.data.reader, reading.data.name).records()
    present = {m for r in records for m in r.images}
    if any(r.captions for r in records):
        present.add(Modality.TEXT)
    return recipe(name, path, [*own, *given], canonical(present))


if __name__ == "__main__":
    run_verb(main_import)
