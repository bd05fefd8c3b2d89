"""Find the gallery items most like the pictures and the sentence that are given.

Reads a run folder and its gallery, in this process, without Ray. Prints the best hits; writes nothing
except their pictures to --thumbnails.

Example:

  python -m jobs.search --preset baseline/grocery --rgb photo.jpg --text "a green apple" --top-k 5
"""

from __future__ import annotations

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

ImageOption = Annotated[str | None, typer.Option(help="Image file, or an s3:// uri.")]


def search(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    rgb: ImageOption = None,
    nir: ImageOption = None,
    tir: ImageOption = None,
    sketch: ImageOption = None,
    text: Annotated[str | None, typer.Option(help="A sentence.")] = None,
    gallery: Annotated[str | None, typer.Option(help="Gallery subset, e.g. rgb+nir.")] = None,
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
) -> None:
    """Print the best gallery items for a query of any supported subset."""
    from pipelines.devices import device_here
    from reid import storage
    from reid.config.addresses import gallery_uri
    from reid.data.images import check_whole, open_image
    from reid.errors import UsageError
    from reid.gallery.store import Gallery
    from reid.modality import Modality
    from reid.retrieve.retriever import Retriever
    from reid.runs.run import load_run

    settings = load_config(config, preset, overrides)
    files = {Modality.RGB: rgb, Modality.NIR: nir, Modality.TIR: tir, Modality.SKETCH: sketch}
    parts: dict[Modality, bytes | str] = {}
    for modality, uri in files.items():
        if uri:
            content = storage.read_bytes(storage.absolute(uri))
            open_image(content, uri)  # an unreadable file is told by its name
            check_whole(content, uri)
            parts[modality] = content
    if text:
        parts[Modality.TEXT] = text
    if not parts:
        raise UsageError("Nothing to search for: give at least one of --rgb --nir --tir --sketch --text.")
    run = load_run(run_uri_of(settings), device_here())
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
                f"  camera {hit.camid}"
                for rank, hit in enumerate(result.hits, 1)
            ),
            *(["nothing as sure as asked"] if result.nothing_confident else []),
            *(f"note: {warning}" for warning in result.warnings),
        ],
    )


def _sure(probability: float | None) -> str:
    return "" if probability is None else f"  {probability:.1%} sure"


if __name__ == "__main__":
    run_verb(search)
