"""Compare training runs: fields that differ, then metrics side by side.

Reads run folders, or all runs below folders, finished or not. Prints two tables. Writes only the page that
--html names, with the curves of all runs over each other.

Example:

  python -m jobs.runs compare runs/train/mine --html curves.html
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, show
from jobs.runs_show import HtmlOption
from reid.errors import UsageError


def main_compare(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders of runs.", metavar="RUN...")],
    html: HtmlOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print how runs differ: fields first, then the last and the best of each metric."""
    from reid.runs.metrics.comparing import config_differences, metric_rows
    from reid.runs.metrics.records import find_runs
    from reid.runs.metrics.texts import as_json_record, compare_lines, write_page

    found = {record.uri: record for folder in runs for record in find_runs(folder)}
    records = list(found.values())
    if len(records) < 2:
        raise UsageError(f"Two runs or more can be compared; here is only {records[0].uri}.")
    lines = compare_lines(records)
    if html:
        lines.append(f"page: {write_page(records, html)}")
    result = {
        "runs": [as_json_record(record) for record in records],
        "differences": dict(config_differences(records)),
        "metrics": {name: [list(cell) for cell in cells] for name, cells in metric_rows(records)},
    }
    show(result, as_json, lines)


if __name__ == "__main__":
    run_verb(main_compare)
