"""Labels as people and tools spell them: words for nothing, one spelling for one label, doubtful pairs.

Identities, cameras, file names in lists, keys of captions and ids of gallery items are compared by these
functions and by nothing else. What only a tool changed (Unicode form, spaces at the edges, full-width digits)
is one label; what a person may have meant to be two (letter case, inner spaces, 7 and 007) is refused with
both spellings.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from reid.errors import DataError

_DASHES = ("", "-", "--", "–", "—", "?")
NOTHING = frozenset(
    [*_DASHES, "nan", "-nan", "none", "null", "#null!", "na", "<na>", "#na", "n/a", "#n/a", "n.a."]
)
"""What spreadsheets and programs write into an empty cell, in any letter case."""
_LONGEST = 16  # more than the longest word and some invisible characters
_NO_TIME = "NaT"  # in this spelling only: Nat is a name
UNKNOWN = "unknown"
"""Stands for nothing as well where it can be no label: captions, cameras, identities."""
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"
_SPACES = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_EDGES = _SPACES + _INVISIBLE
_DIGITS = {0xFF10 + n: str(n) for n in range(10)}
_WHOLE = re.compile(r"(-?[0-9]{1,40})([.,]0{1,2})?")
"""Longer runs of digits are names; Python refuses to count some of them."""
_SHOWN = 3


def tidy(label: str) -> str:
    """The one spelling of what only a tool spells differently.

    Unicode form NFC, no spaces or invisible characters at the edges, full-width digits as plain ones.

    >>> tidy("  jose\\u0301 "), tidy("\\uff17")
    ('josé', '7')
    """
    if not label.isascii():
        label = unicodedata.normalize("NFC", label.translate(_DIGITS))
    return label.strip(_EDGES)


def is_nothing(value: Any, unknown: bool = False) -> bool:
    """Whether a cell, a JSON value or a form field says nothing: null, NaN, blank, or a word for it.

    With `unknown`, the word "unknown" says nothing, too.

    >>> [is_nothing(v) for v in (None, float("nan"), " ", "N/A", "None", "0", "Nancy", "unknown")]
    [True, True, True, True, True, False, False, False]
    >>> is_nothing("Unknown", unknown=True)
    True
    """
    if isinstance(value, str):
        if len(value.strip()) > _LONGEST:  # most cells, without a closer look
            return False
        text = tidy(value)
        word = text.casefold()
        return word in NOTHING or text == _NO_TIME or (unknown and word == UNKNOWN)
    return value is None or (isinstance(value, float) and math.isnan(value))


def whole_number(label: Any) -> int | None:
    """The whole number that a label spells, also as tables with gaps do (7.0 or 7,0); None for another label.

    >>> whole_number("007"), whole_number("7.0"), whole_number("7,0"), whole_number(7.0)
    (7, 7, 7, 7)
    >>> whole_number("7a"), whole_number("1,000"), whole_number(True)
    (None, None, None)
    """
    if isinstance(label, bool):
        return None
    if isinstance(label, float):
        return int(label) if label.is_integer() else None
    if isinstance(label, int):
        return label
    text = tidy(label) if isinstance(label, str) else ""
    match = _WHOLE.fullmatch(text)
    return int(match[1]) if match else None


def alike(label: str) -> str:
    """A key that is equal for labels that may be one: letter case, inner spaces and number spellings apart.

    >>> alike("Red Car") == alike("redcar"), alike("7.0") == alike("007"), alike("7") == alike("70")
    (True, True, False)
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    bare = "".join(c for c in folded if c not in _SPACES and c not in _INVISIBLE)
    plain = "".join(str(unicodedata.decimal(c, c)) for c in bare)
    number = whole_number(plain)
    return plain if number is None else str(number)


def refuse_alike(labels: Iterable[str], what: str, where: str = "") -> None:
    """Raise DataError with both spellings when two different labels may be one.

    Args:
        labels: tidy labels.
        what: the plural of what they are, e.g. "identities".
        where: the file or folder that has them, for the message.

    >>> refuse_alike(["7", "8"], "identities")
    >>> refuse_alike(["Alice", "alice"], "identities")
    Traceback (most recent call last):
    ...
    reid.errors.DataError: The identities 'Alice' and 'alice' differ in letter case only; spell them alike \
if they are one, or rename one.
    """
    seen: dict[str, str] = {}
    for label in sorted(set(labels)):
        other = seen.setdefault(alike(label), label)
        if other != label:
            place = f"{where}: the" if where else "The"
            raise DataError(
                f"{place} {what} {both(other, label)} {difference(other, label)}; "
                "spell them alike if they are one, or rename one."
            )


def difference(one: str, other: str) -> str:
    """How two spellings differ that may be one label, as the end of a sentence.

    >>> difference("7", "007")
    'both read as number 7'
    """
    number = whole_number(one)
    if number is not None and number == whole_number(other):
        return f"both read as number {number}"
    if tidy(one) == tidy(other):
        return "differ in Unicode form or spaces at the edges only"
    if tidy(one).casefold() == tidy(other).casefold():
        return "differ in letter case only"
    return "differ in spaces or spelling only"


def both(one: str, other: str, between: str = " and ") -> str:
    """Two spellings side by side, in plain characters where they would look the same."""
    shown = [repr(one), repr(other)]
    if unicodedata.normalize("NFKC", shown[0]) == unicodedata.normalize("NFKC", shown[1]):
        shown = [ascii(one), ascii(other)]
    return between.join(shown)


class Blanks:
    """Counts the words for nothing that were read as empty, by column or key.

    >>> blanks = Blanks()
    >>> blanks.cell("camid", " nan "), blanks.cell("camid", " 3 ")
    ('', '3')
    >>> blanks.notes("list.csv")
    ["list.csv: camid 'nan' (1) is read as empty; spell it differently if it is a name"]
    """

    def __init__(self) -> None:
        self._found: dict[str, Counter[str]] = defaultdict(Counter)

    def cell(self, column: str, text: str, unknown: bool = False) -> str:
        """The stripped text; empty for a word for nothing."""
        return "" if self.counts(column, text, unknown) else text.strip()

    def counts(self, column: str, value: Any, unknown: bool = False) -> bool:
        """Whether a value says nothing; words for it are counted."""
        if value == "":
            return True
        nothing = is_nothing(value, unknown)
        if nothing and value is not None and (word := str(value).strip()):
            self._found[column][word] += 1
        return nothing

    def notes(self, file: str) -> list[str]:
        """A line for each column that had such words."""
        return [
            f"{file}: {column} {', '.join(f'{w!r} ({n})' for w, n in words.most_common(_SHOWN))} "
            f"{'is' if len(words) == 1 else 'are'} read as empty; spell it differently if it is a name"
            for column, words in self._found.items()
        ]
