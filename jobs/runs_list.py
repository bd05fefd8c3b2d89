"""List training runs: state, progress, time left, last metrics.

Reads the run folders below a folder. Prints a line a run; writes nothing.

Example:

  python -m jobs.runs list runs --sort val/mAP --where "state!=failed"
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, show

_SHOWN = ("loss", "val/mAP")


def main_list(
    folder: Annotated[
        str, typer.Argument(help="A working folder, a folder of runs, or a run.", metavar="FOLDER")
    ] = "runs",
    sort: Annotated[
        str | None,
        typer.Option(help="The metric to sort by, the best first, e.g. val/mAP.", metavar="METRIC"),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only runs that meet it: state=running, 'val/mAP>0.5', model.name=mfrnet. May be repeated.",
            metavar="CONDITION",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Another metric to show. May be repeated.", metavar="METRIC")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print a line a run: its state, how far it is, the time left, the last metrics."""
    from reid.runs.metrics.comparing import check_metric, sorted_by
    from reid.runs.metrics.comparing import where as meeting
    from reid.runs.metrics.records import find_runs
    from reid.runs.metrics.texts import as_json_record, list_lines

    records = find_runs(folder)
    wanted = [*(metric or ()), *([sort] if sort else ())]
    for name in wanted:
        check_metric(records, name)
    chosen = meeting(sorted_by(records, sort) if sort else records, where or ())
    names = list(dict.fromkeys([*wanted, *_SHOWN]))
    show({"runs": [as_json_record(r) for r in chosen]}, as_json, list_lines(chosen, names))


if __name__ == "__main__":
    run_verb(main_list)
