"""Where a gallery is: a folder of its own, or one of those below a folder of galleries."""

from __future__ import annotations

from reid import storage
from reid.errors import GalleryError
from reid.storage.latest import folders_with, latest

NOTE = "gallery.json"
"""The file that makes a folder a gallery."""


def find_gallery(uri: str, model_fingerprint: str | None = None) -> str:
    """The gallery that a uri stands for: itself, or one below it.

    Below it, it is the only one of the model, where a model is given; else the one that LATEST names; else
    the only one. Where nothing is there it is `uri`, so that opening it tells so. Raises GalleryError when
    several are meant, or when those below are all of other models.

    >>> find_gallery("runs/gallery")
    '.../runs/gallery/mine-...'
    """
    root = storage.absolute(uri)
    if storage.exists(storage.join(root, NOTE)):
        return root
    if model_fingerprint is not None and (below := folders_with(root, NOTE)):
        models = {folder: _model(folder) for folder in below}
        mine = [folder for folder, model in models.items() if model == model_fingerprint]
        if len(mine) == 1:
            return mine[0]
        if not mine:
            others = ", ".join(f"{folder.rpartition('/')[2]} (model {m})" for folder, m in models.items())
            raise GalleryError(
                f"{root}: none of its galleries is of model {model_fingerprint}: {others}. Make one with "
                "`python -m jobs.index`."
            )
    return latest(root, NOTE, "galleries", GalleryError)


def place_for_gallery(uri: str, name: str, model_fingerprint: str) -> str:
    """Where the gallery of a model is made or brought up to date, when `uri` was given for it.

    That is `uri` itself, or, where it is a folder of galleries, the model's own there: `name` if it has none.

    >>> place_for_gallery("runs/gallery", "another", "0123456789ab")
    '.../runs/gallery/another'
    """
    root = storage.absolute(uri)
    if storage.exists(storage.join(root, NOTE)) or not (below := folders_with(root, NOTE)):
        return root
    if any(_model(folder) == model_fingerprint for folder in below):
        return find_gallery(root, model_fingerprint)
    return storage.join(root, name)


def _model(folder: str) -> str:
    note = storage.read_json(storage.join(folder, NOTE))
    return str(note.get("model_fingerprint")) if isinstance(note, dict) else ""
