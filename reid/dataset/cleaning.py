"""Deletes files that no manifest needs: leftovers of killed builds, and superseded shards on request.

Only files with a build's names are deleted, and only those older than any running build.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from reid import storage
from reid.data.shards.manifest import MANIFEST, QUARANTINE
from reid.dataset.inventory import list_folder
from reid.storage.uploads import abort_uploads

_OURS = re.compile(r"(?P<key>[0-9a-f]{12}(-[0-9a-f]{12})?)\.(parquet|json)")
_PARTIAL = re.compile(
    rf"({_OURS.pattern}|{re.escape(MANIFEST)}|{re.escape(QUARANTINE)})\.[0-9a-f]{{32}}\.partial"
)


def clean(root: str, needed: Iterable[str], superseded: bool, age_s: float) -> list[str]:
    """Delete leftovers in a set's folder, and return their uris. `needed` are the keys of shards to keep.

    Leftovers are files that were never renamed to their final name, shards without statistics and statistics
    without shards, and on S3 unfinished uploads. Finished shards that are not needed are deleted only with
    `superseded`.
    """
    latest = time.time() - age_s
    keep = set(needed)
    gone = abort_uploads(root, age_s)
    for folder in (root, storage.join(root, "data")):
        files = list_folder(folder)
        for name, file in sorted(files.items()):
            if file.modified > latest:
                continue
            if _PARTIAL.fullmatch(name) or (folder != root and _is_stray(name, files, keep, superseded)):
                uri = storage.join(folder, name)
                storage.delete_file(uri)
                gone.append(uri)
    return gone


def _is_stray(name: str, files: Iterable[str], keep: set[str], superseded: bool) -> bool:
    ours = _OURS.fullmatch(name)
    if ours is None or ours["key"] in keep:
        return False
    key = ours["key"]
    finished = f"{key}.json" in files and f"{key}.parquet" in files
    return superseded or not finished
