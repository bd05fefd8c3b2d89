"""Show a training run: state, progress, metrics, and curves as a page.

Reads the run folder, finished or not; a folder of several runs stands for the one that was written last.
Prints its facts and the last and best of every metric. Writes only the page that --html names.

Example:

  python -m jobs.runs show runs/train/mine --html curves.html
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, show

HtmlOption = Annotated[
    str | None,
    typer.Option(
        "--html", help="Write curves to this file: one page that needs nothing else.", metavar="FILE"
    ),
]


def main_show(
    run: Annotated[str, typer.Argument(help="A run folder, or the folder of a name's runs.", metavar="RUN")],
    html: HtmlOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what a run is and what it measured; --html draws it."""
    from reid.runs.metrics.records import newest_run
    from reid.runs.metrics.texts import as_json_record, show_lines, write_page

    record = newest_run(run)
    lines = show_lines(record)
    if html:
        lines.append(f"  page: {write_page([record], html)}")
    show({**as_json_record(record), "epochs_table": record.table.epochs()}, as_json, lines)


if __name__ == "__main__":
    run_verb(main_show)
