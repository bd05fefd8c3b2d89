"""Find the gallery items most like the pictures and the sentence that are given.

Reads a run folder and its gallery, in this process, without Ray. Prints the best hits; writes nothing
except their pictures to --thumbnails.

Example:

  python -m jobs.search --preset baseline/grocery --rgb photo.jpg --text "a green apple" --top-k 5
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    run_uri_of,
    run_verb,
    show,
)
from reid.errors import AnyReIDError
from reid.modality.registry import entries

ImageOption = Annotated[str | None, typer.Option(help="Image file, or an s3:// uri.")]


def _with_pictures(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with an option for the file of every registered kind of picture, in place of `pictures`."""
    try:
        names = [entry.name for entry in entries() if entry.is_visual]
    except AnyReIDError:  # which the verb will tell in one line
        names = []
    named = inspect.signature(verb, eval_str=True)
    given = [p for p in named.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [inspect.Parameter(n, kind, default=None, annotation=ImageOption) for n in names]
    place = [p.name for p in given].index("text")
    ordered = [*given[:place], *options, *given[place:]]
    verb.__signature__ = named.replace(parameters=ordered)  # type: ignore[attr-defined]
    verb.__annotations__ |= dict.fromkeys(names, ImageOption)
    return verb


@_with_pictures
def search(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    text: Annotated[str | None, typer.Option(help="A sentence.")] = None,
    gallery: Annotated[
        str | None, typer.Option(help="Subsets that items are compared by, e.g. rgb+nir or rgb|nir.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many results.")] = 5,
    min_probability: Annotated[
        float | None, typer.Option(min=0, max=1, help="Withhold hits that are less likely right.")
    ] = None,
    fpr: Annotated[
        float | None, typer.Option(help="Withhold hits below the threshold of this false-positive rate.")
    ] = None,
    prior: Annotated[float | None, typer.Option(help="Chance of an item to be the one, a priori.")] = None,
    thumbnails: Annotated[str | None, typer.Option(help="Folder to write the hits' pictures to.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    **pictures: str | None,
) -> None:
    """Print the best gallery items for a query of any supported subset."""
    from pipelines.placement.devices import own_device
    from reid import storage
    from reid.config.addresses import gallery_uri
    from reid.data.images import check_whole, open_image
    from reid.errors import UsageError
    from reid.gallery.store import Gallery
    from reid.modality import VISUAL, Modality
    from reid.retrieve.retriever import Retriever
    from reid.runs.run import load_run

    settings = load_config(config, preset, overrides)
    parts: dict[Modality, bytes | str] = {}
    for modality in VISUAL:
        if uri := pictures.get(modality.value):
            content = storage.read_bytes(storage.absolute(uri))
            open_image(content, uri)  # an unreadable file is told by its name
            check_whole(content, uri)
            parts[modality] = content
    if text:
        parts[Modality.TEXT] = text
    if not parts:
        options = " ".join(f"--{m}" for m in Modality)
        raise UsageError(f"Nothing to search for: give at least one of {options}.")
    run = load_run(run_uri_of(settings), own_device("search", settings.device))
    store = Gallery.open(gallery_uri(settings, run.fingerprint), run.fingerprint)
    retriever = Retriever(run, store, settings.index.search, prior=settings.serve.prior)
    result = retriever.search(parts, top_k, gallery, min_probability=min_probability, fpr=fpr, prior=prior)
    if thumbnails:
        Path(thumbnails).mkdir(parents=True, exist_ok=True)
        for rank, hit in enumerate(result.hits, 1):
            if hit.thumbnail:
                (Path(thumbnails) / f"{rank:02d}_{hit.id.replace('/', '_')}.jpg").write_bytes(hit.thumbnail)
    tree: dict[str, Any] = asdict(result)
    for hit_tree in tree["hits"]:
        hit_tree.pop("thumbnail")
    show(
        tree,
        as_json,
        [
            f"{result.query_subset} against {result.gallery_subset} (version {result.gallery_version})",
            *(
                f"{rank:>3}. {hit.score:.3f}{_sure(hit.probability)}  {hit.id}  pid {hit.pid}"
                f"  camera {hit.camid}{_own(hit.compared_by, result.gallery_subset)}"
                for rank, hit in enumerate(result.hits, 1)
            ),
            *(["nothing as sure as asked"] if result.nothing_confident else []),
            *(f"note: {warning}" for warning in result.warnings),
        ],
    )


def _own(compared_by: str, gallery: str) -> str:
    """By which of several subsets a hit was compared."""
    return "" if compared_by == gallery else f"  by {compared_by}"


def _sure(probability: float | None) -> str:
    return "" if probability is None else f"  {probability:.1%} sure"


if __name__ == "__main__":
    run_verb(search)
