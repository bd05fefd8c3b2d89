"""Which folders at the top are splits or roles (train, Validation, gallery_bbox), which are identities."""

from __future__ import annotations

from reid import storage
from reid.data.labels import tidy
from reid.data.readers.folder.config import RoleRule, may_be_split
from reid.data.readers.folder.parts import LAYOUT, FolderSource
from reid.data.readers.shared.folders import file_name, some
from reid.errors import DataError

_MOST = 6
"""More folders of doubtful names are identities that are called so, not splits."""
_IDENTITIES = "data.reader.identity_pattern='^([^/]+)/'"


def split_folders(source: FolderSource, root: str) -> dict[str, RoleRule]:
    """The folders directly below `root` that are splits or roles, by name; empty where they are identities.

    Raises DataError when splits stand beside other folders, and for names that may be those of splits or not.
    """
    top = [file_name(folder) for folder in source.walk.folders(root)]
    spelled = {name: rule for name in top if (rule := source.rule(name))}
    plain = [name for name in spelled if tidy(name).casefold() in source.rules]
    others = [name for name in top if name not in spelled]
    if others or len(top) == 1:  # Dev may be a person; a split holds folders
        spelled = {n: r for n, r in spelled.items() if n in plain or _folders_in(source, root, n)}
        others = [name for name in top if name not in spelled]
    doubtful = [n for n in others if may_be_split(n) and len(_folders_in(source, root, n)) > 1]
    if len(doubtful) > _MOST:
        doubtful = []
    if spelled and not doubtful:  # annotations/ beside train/ and test/ is neither split nor identity
        others = [name for name in others if source.walk.below(storage.join(root, name))]
    if source.config.identity_pattern and others:
        if spelled or doubtful:
            source.notes.append(
                f"Folders that are not read as splits, because {others[0]} lies beside them or is none: "
                f"{some([*spelled, *doubtful])}; name all splits in data.reader.roles"
            )
        return {}
    if doubtful:
        raise DataError(
            f"{root}: folders whose names may be those of splits: {some(doubtful)}. Say what they are, e.g. "
            f"data.reader.roles='{{{doubtful[0]}: {{split: train}}}}'; if they are identities, set "
            f"{_IDENTITIES}.\n{LAYOUT}"
        )
    if spelled and others:
        raise DataError(
            f"{root}: split folders ({some(spelled)}) beside others ({some(others)}). Move the others "
            f"away, or name them in data.reader.roles; if all are identities, set {_IDENTITIES}.\n{LAYOUT}"
        )
    told = [name for name in spelled if name not in plain]
    if told:
        read = ", ".join(f"{name} as {_meaning(spelled[name])}" for name in told)
        example = f"data.reader.roles='{{{told[0]}: {{split: {spelled[told[0]].split}}}}}'"
        source.notes.append(f"Folders that are read as splits: {read}; where that is wrong, set {example}")
    return spelled


def _folders_in(source: FolderSource, root: str, name: str) -> list[str]:
    """Folders that may be identities."""
    below = source.walk.folders(storage.join(root, name))
    return [folder for folder in below if not source.words.is_modality(file_name(folder))]


def _meaning(rule: RoleRule) -> str:
    return " and ".join(rule.roles or [str(rule.split)])
