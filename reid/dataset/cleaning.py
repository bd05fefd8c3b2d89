"""Deletes files that no manifest needs: leftovers of killed builds, and superseded shards on request.

Only files with a build's names are deleted, and only old ones: a running build may be writing the young.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from reid import storage
from reid.data.shards.manifest import MANIFEST, QUARANTINE
from reid.data.shards.manifest_files import FOLDER
from reid.dataset.inventory import list_folder
from reid.dataset.planning.plan_files import PLAN_FOLDER
from reid.storage.uploads import abort_uploads

_OURS = re.compile(r"(?P<key>[0-9a-f]{12}(-[0-9a-f]{12})?)\.(parquet|json)")
_TABLE = re.compile(r"((shards|identities)-)?[0-9a-f]{16}\.arrow")
_FIXED = "|".join(re.escape(name) for name in (MANIFEST, QUARANTINE))
_PLAN_AGE_S = 7 * 86400.0
"""Least age of a plan that nobody needs: a build reads it until its last shard, perhaps for days."""
_PARTIAL = re.compile(rf"({_OURS.pattern}|{_TABLE.pattern}|{_FIXED})\.[0-9a-f]{{32}}\.partial")


def clean(root: str, needed: Iterable[str], superseded: bool, age_s: float) -> list[str]:
    """Delete leftovers in a set's folder, and return their uris.

    `needed` are the keys of shards to keep, and the names of the manifest's tables.

    Leftovers are files that were never renamed to their final name, shards without statistics and statistics
    without shards, tables of earlier manifests, plans of killed builds, and on S3 unfinished uploads. They
    are `age_s` seconds old, plans a week: a build writes its plans once and reads them until it ends.
    Finished shards that are not needed are deleted only with `superseded`.
    """
    now = time.time()
    keep = set(needed)
    gone = abort_uploads(root, age_s)
    for folder in (
        root,
        storage.join(root, "data"),
        storage.join(root, FOLDER),
        storage.join(root, PLAN_FOLDER),
    ):
        plans = folder == storage.join(root, PLAN_FOLDER)
        latest = now - (max(age_s, _PLAN_AGE_S) if plans else age_s)
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
    if _TABLE.fullmatch(name):
        return name not in keep
    ours = _OURS.fullmatch(name)
    if ours is None or ours["key"] in keep:
        return False
    key = ours["key"]
    finished = f"{key}.json" in files and f"{key}.parquet" in files
    return superseded or not finished
