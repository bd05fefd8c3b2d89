"""The statistics of a set as a page and as text."""

from __future__ import annotations

from typing import Any

from reid.dataset.report.charts import columns, meters
from reid.evaluate.report.pages import environment
from reid.modality import Target

_PACKAGE = "reid.dataset.report"
_ORIGINS = ("captured", "generated")


def render_statistics(found: dict[str, Any]) -> str:
    """One self-contained HTML page of what `statistics` returns; all texts escaped."""
    return (
        environment(_PACKAGE)
        .get_template("stats.html.j2")
        .render(
            s=found,
            size=size_of(found["set"]["bytes"]),
            presence=_presence(found),
            charts=_charts(found),
        )
    )


def text_lines(found: dict[str, Any]) -> list[str]:
    """The same for a terminal."""
    head = found["set"]
    lines = [
        f"{head['root']}",
        f"  {head['dataset']}: {head['rows']:,} rows in {head['shards']} files, {size_of(head['bytes'])}",
    ]
    for split, s in found["splits"].items():
        per = s["rows_per_identity"]
        lines.append(
            f"  {split}: {s['rows']:,} rows of {s['identities']:,} identities "
            f"({_range(per)} each), {s['cameras']} cameras; "
            f"{s['identities_with_one_row']} of one row, {s['identities_seen_by_one_camera']} of one camera"
        )
        for name, origins in found["presence"][split].items():
            by_origin = ", ".join(f"{n:,} {origin}" for origin, n in origins.items())
            lines.append(f"    {name}: {by_origin}")
    for name, part in found["modalities"].items():
        if "width" in part:
            w, h = part["width"], part["height"]
            lines.append(
                f"  {name}: {w['min']}x{h['min']} to {w['max']}x{h['max']} pixels, "
                f"median {w['median']}x{h['median']}"
            )
        for made in part["generators"]:
            lines.append(f"  {name}: {made['count']:,} made by {made['generator']} ({made['params_hash']})")
    captions = found["captions"]
    if captions["captions"]:
        lines.append(
            f"  captions: {captions['captions']:,}, {captions['distinct']:,} distinct, mean "
            f"{captions['tokens']['mean']:.1f} tokens, longest {captions['tokens']['longest']}; "
            f"{100 * captions['unknown_rate']:.1f} % say unknown; "
            f"{captions['shared_by_identities']['texts']} texts describe several identities"
        )
        for code, count in captions["reasons"].items():
            lines.append(f"    {code}: {count:,}, e.g. {captions['examples'][code][0]}")
    for reason in found["quarantine"]["reasons"]:
        lines.append(f"  set aside: {reason['count']:,} {reason['kind']}, e.g. {reason['example']}")
    return lines


def size_of(count: int) -> str:
    """1536 -> "1.5 KiB"."""
    value, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:,.0f} {units[0]}" if units[0] == "bytes" else f"{value:,.1f} {units[0]}"


def _range(found: dict[str, Any]) -> str:
    low, high = found["min"], found["max"]
    return f"{low}" if low == high else f"{low}–{high}, mean {found['mean']:.1f},"


def _presence(found: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, int, str]]]]:
    names = dict.fromkeys(name for here in found["presence"].values() for name in here)
    order = [n for n in Target.known if n in names]
    return [
        (
            name,
            [
                (split, origin, count, f"{100 * count / max(found['splits'][split]['rows'], 1):.0f}")
                for split, here in found["presence"].items()
                for origin in _ORIGINS
                for count in [here.get(name, {}).get(origin, 0)]
            ],
        )
        for name in order
    ]


def _charts(found: dict[str, Any]) -> dict[str, Any]:
    captions = found["captions"]
    return {
        "identity": {
            split: columns(**s["rows_per_identity"]["histogram"]) for split, s in found["splits"].items()
        },
        "cameras": {
            split: meters([(f"camera {c}", n) for c, n in s["rows_per_camera"].items()])
            for split, s in found["splits"].items()
        },
        "subsets": [(split, meters(list(s["subsets"].items()))) for split, s in found["splits"].items()],
        "generators": meters(
            [
                (f"{name}: {made['generator']} ({made['params_hash'] or 'no parameters'})", made["count"])
                for name, part in found["modalities"].items()
                for made in part["generators"]
            ]
        ),
        "sizes": [
            (
                name,
                _usual(part),
                columns(**part["width"]["histogram"]),
                columns(**part["height"]["histogram"]),
            )
            for name, part in found["modalities"].items()
            if "width" in part
        ],
        "tokens": columns(**captions["tokens"]["histogram"], mark=captions["tokens"]["limit"]),
        "confidence": columns(**captions["confidence"]["histogram"], whole=False),
        "faults": meters(list(captions["reasons"].items())),
        "attributes": [
            (name, meters([(v, n) for v, n in values], 8))
            for name, values in captions["attributes"]["values"].items()
        ],
    }


def _usual(part: dict[str, Any]) -> str:
    width, height, count = part["sizes"][0]
    if part["distinct_sizes"] == 1:
        return f"All {count:,} are {width} × {height}."
    share = 100 * count / part["width"]["count"]
    return f"Most often {width} × {height} ({share:.0f} %); {part['distinct_sizes']:,} sizes."
