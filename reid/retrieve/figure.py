"""A search's answer as a figure: hits in order with score, id and labels, drawn with Pillow."""

from __future__ import annotations

import io
import sys
import textwrap
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont, ImageOps

from reid import storage
from reid.data.images import open_image
from reid.errors import UsageError
from reid.retrieve.answers import FoundItem, SearchResult
from reid.runs.contents import Content, row_parts

TILE, TEXT, GAP, BORDER, TITLE = (132, 176), 58, 12, 4, 30
"""Pixels: (width, height) of a picture's place, height of the lines below it, and what lies between."""
COLUMNS = 8
WHITE, INK, GREY, RIGHT, WRONG = "white", "#1d1d1f", "#8a8a8e", "#1a8f3c", "#c8322b"
_LETTERS = 20
"""Of an id or a line of a sentence, so that it fits below a picture."""


@dataclass(frozen=True, repr=False)
class Figure:
    """A drawn picture. Notebooks show it by themselves; `path` is where it was written, or None."""

    image: PILImage.Image = field(repr=False)
    title: str
    path: str | None = None

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.image.save(stream, "PNG")
        return stream.getvalue()

    def save(self, path: str | Path) -> Figure:
        """Write a PNG to a local path or an s3:// uri and return the figure with its `path`."""
        uri = storage.absolute(path)
        storage.write_bytes(uri, self._repr_png_())
        return Figure(self.image, self.title, uri)

    def __repr__(self) -> str:
        where = f", in {self.path}" if self.path else ""
        return f"<Figure {self.title}, {self.image.width}x{self.image.height} pixels{where}>"


def show(
    hits: SearchResult,
    query: Content | None = None,
    pid: int | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw what `Retriever.search` found, best first, with score, probability, id, identity and camera.

    `query`, as it was given to the search, is drawn before the hits. With `pid`, the query's identity, right
    hits are framed green and wrong ones red. A notebook shows the returned figure where it is the last
    expression of a cell. Elsewhere it is written to `path`, by default hits.png or the next free hits-2.png
    here, and a line says where; in a notebook only if `path` is given.

    Raises UsageError for anything but a SearchResult, StorageError where the file cannot be written.

    >>> hits = reid.Retriever.open("runs/train/mine").search("a.jpg", k=3)
    >>> reid.show(hits, query="a.jpg", pid=0, path="found.png")
    found.png: rgb against rgb, 3 hits
    <Figure rgb against rgb, 3 hits, 588x... pixels, in .../found.png>
    """
    if not isinstance(hits, SearchResult):
        raise UsageError(f"show: give what Retriever.search found, not a {type(hits).__name__}.")
    figure = Figure(_draw(hits, query, pid), hits.title)
    if path is None and in_notebook():
        return figure
    place = _free_name() if path is None else path
    figure = figure.save(place)
    sys.stdout.write(f"{place}: {figure.title}\n")
    return figure


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which can show pictures."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _free_name() -> str:
    names = ("hits.png" if number == 1 else f"hits-{number}.png" for number in count(1))
    return next(name for name in names if not Path(name).exists())


@dataclass(frozen=True)
class _Tile:
    picture: bytes | str | None
    lines: tuple[str, ...]
    colour: str
    source: str


def _draw(hits: SearchResult, query: Content | None, pid: int | None) -> PILImage.Image:
    tiles = [] if query is None else _query_tiles(query)
    tiles += [_hit_tile(rank, hit, pid) for rank, hit in enumerate(hits, 1)]
    width, height = TILE[0] + GAP, TILE[1] + TEXT + GAP
    across = max(3, min(COLUMNS, len(tiles)))  # wide enough for the title
    rows = -(-len(tiles) // across)
    notes = [line for note in hits.warnings for line in textwrap.wrap(note, across * width // 7)]
    sheet = PILImage.new("RGB", (across * width + GAP, TITLE + rows * height + GAP + 16 * len(notes)), WHITE)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), hits.title, INK, ImageFont.load_default(14))
    for number, tile in enumerate(tiles):
        _paint(sheet, pen, tile, (GAP + number % across * width, TITLE + GAP + number // across * height))
    for number, note in enumerate(notes):
        place = (GAP, TITLE + GAP + rows * height + 16 * number)
        pen.text(place, note, GREY, ImageFont.load_default(12))
    return sheet


def _query_tiles(query: Content) -> list[_Tile]:
    return [
        _Tile(part.content, ("query", modality.value), INK, part.source)
        for modality, part in row_parts(query).items()
    ]


def _hit_tile(rank: int, hit: FoundItem, pid: int | None) -> _Tile:
    colour = GREY if pid is None or hit.pid is None else RIGHT if hit.pid == pid else WRONG
    verdict = {RIGHT: "  right", WRONG: "  wrong"}.get(colour, "")
    sure = "" if hit.probability is None else f"  {hit.probability:.0%}"
    labels = (("pid", hit.pid), ("camera", hit.camid))
    known = "  ".join(f"{name} {value}" for name, value in labels if value is not None)
    lines = (f"{rank}.  {hit.score:.3f}{sure}{verdict}", _short(hit.id), known)
    return _Tile(hit.thumbnail, lines, colour, hit.id)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _paint(sheet: PILImage.Image, pen: ImageDraw.ImageDraw, tile: _Tile, place: tuple[int, int]) -> None:
    x, y = place
    pen.rectangle((x, y, x + TILE[0] - 1, y + TILE[1] - 1), "#f2f2f4", tile.colour, BORDER)
    inner = (TILE[0] - 2 * BORDER, TILE[1] - 2 * BORDER)
    if isinstance(tile.picture, bytes):
        picture = ImageOps.contain(open_image(tile.picture, tile.source).convert("RGB"), inner)
        sheet.paste(picture, (x + (TILE[0] - picture.width) // 2, y + (TILE[1] - picture.height) // 2))
    else:
        words = textwrap.wrap(tile.picture or "no picture", _LETTERS)[:9]
        pen.multiline_text(
            (x + 2 * BORDER, y + 2 * BORDER), "\n".join(words), INK, ImageFont.load_default(12)
        )
    for number, line in enumerate(tile.lines):
        colour = tile.colour if number == 0 and tile.colour != GREY else INK
        pen.text((x, y + TILE[1] + 4 + 17 * number), line, colour, ImageFont.load_default(13))
