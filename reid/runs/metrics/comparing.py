"""Several runs side by side: what their configurations say differently, then their metrics."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reid.config.typed import did_you_mean
from reid.errors import UsageError
from reid.runs.metrics.records import RunRecord
from reid.runs.metrics.table import lower_is_better

_CONDITION = re.compile(r"\s*([^<>=!\s]+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
MISSING = "–"


def config_differences(records: Sequence[RunRecord]) -> list[tuple[str, list[Any]]]:
    """(dotted field, its value in each run) for the fields that are not the same in all; None where missing.

    Where outputs lie is left out.

    >>> from reid.runs.metrics.table import MetricsTable
    >>> def run(epochs: int) -> RunRecord:
    ...     return RunRecord("a", "finished", {"seed": 0, "train": {"epochs": epochs}}, MetricsTable())
    >>> config_differences([run(1), run(2)])
    [('train.epochs', [1, 2])]
    """
    flat = [dict(_flat(record.config)) for record in records]
    names = dict.fromkeys(name for fields in flat for name in fields)
    rows = [(name, [fields.get(name) for fields in flat]) for name in names if name != "workdir"]
    return [(name, values) for name, values in rows if any(v != values[0] for v in values[1:])]


def metric_rows(records: Sequence[RunRecord]) -> list[tuple[str, list[tuple[float | None, float | None]]]]:
    """(metric, (last, best) of each run), validation first, then losses, then the others by name."""
    names = {name for record in records for name in record.table.names()}

    def order(name: str) -> tuple[int, str]:
        kinds = ("val/", "loss")
        return next((i for i, kind in enumerate(kinds) if name.startswith(kind)), len(kinds)), name

    return [(n, [(r.table.last(n), r.table.best(n)) for r in records]) for n in sorted(names, key=order)]


def sorted_by(records: Sequence[RunRecord], metric: str) -> list[RunRecord]:
    """The runs by the last value of a metric, the best first; those without it, or with NaN, at the end.

    Raises UsageError for a metric that no run has.
    """
    check_metric(records, metric)
    sign = 1 if lower_is_better(metric) else -1

    def order(record: RunRecord) -> tuple[bool, float, str]:
        value = record.table.last(metric)
        if value is None or math.isnan(value):  # no order holds for NaN
            return True, 0.0, record.uri
        return False, sign * value, record.uri

    return sorted(records, key=order)


def check_metric(records: Sequence[RunRecord], metric: str) -> None:
    """Raise UsageError for a metric that no run has."""
    known = sorted({name for record in records for name in record.table.names()})
    if metric not in known:
        raise UsageError(f"No run here has the metric {metric!r}.{did_you_mean(metric, known)}")


def where(records: Sequence[RunRecord], conditions: Sequence[str]) -> list[RunRecord]:
    """The runs that meet every condition.

    A condition is NAME OP VALUE, e.g. "state=running", "val/mAP>0.5" or "train.optim.lr<=1e-3": the state, a
    metric's last value, or a field of the configuration. Raises UsageError for another text or name.

    >>> where([], [])
    []
    """
    return [record for record in records if all(_meets(record, text, records) for text in conditions)]


def _meets(record: RunRecord, text: str, records: Sequence[RunRecord]) -> bool:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--where {text!r}: write NAME OP VALUE with <, >, <=, >=, = or !=, e.g. state=running."
        )
    name, op, wanted = match.groups()
    have = _value(record, name, records)
    if have is None:
        return False
    try:
        return _COMPARE[op](float(have), float(wanted))
    except (TypeError, ValueError):
        return _COMPARE[op](str(have), wanted)


def _value(record: RunRecord, name: str, records: Sequence[RunRecord]) -> Any:
    if name == "state":
        return record.state
    if (value := record.table.last(name)) is not None:
        return value
    fields = dict(_flat(record.config))
    if name in fields:
        return fields[name]
    known = {n for r in records for n in (*r.table.names(), *dict(_flat(r.config)))}
    if name not in known:
        raise UsageError(f"--where: no run here has {name!r}.{_near(name, sorted(known))}")
    return None


def _near(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {', '.join(near)}?" if near else " It names state, a metric or a field."


def _flat(tree: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{above}{name}.")
        else:
            found.append((f"{above}{name}", value))
    return found


def shown(value: Any) -> str:
    """A cell for a person: numbers with four digits that count, nothing as a dash.

    >>> shown(0.123456), shown(None), shown(12), shown([1, 2])
    ('0.1235', '–', '12', '[1, 2]')
    """
    if value is None:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
