"""Deleting what no manifest needs: files that killed builds left half-done, and superseded shards if asked.

Only files with names that a build gives, and older than an age that no running build reaches, are touched.
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
    """Delete leftovers of a set's folder; `needed` are the keys of shards to keep. Returns their uris.

    Half-done: files that were never renamed to their name, shards without statistics or the other way round,
    and on S3 uploads that nobody finished. Finished shards that are not needed go only if `superseded` ones
    are to go.
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
