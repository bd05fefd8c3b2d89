"""Follow a training run: its reports as they come, until it ends.

Reads the run's table of metrics, local or s3://, every few seconds; what was read is not read again. Writes
nothing. Ends when the run has finished, failed, stopped, or gone quiet.

Example:

  python -m jobs.runs tail runs/train/mine
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from jobs.common import DebugOption, run_verb


def main_tail(
    run: Annotated[str, typer.Argument(help="A run folder, or the folder of a name's runs.", metavar="RUN")],
    lines: Annotated[int, typer.Option(min=0, help="How many past reports to print first.")] = 10,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 3.0,
    once: Annotated[bool, typer.Option("--once", help="Print the newest reports and end.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print the newest reports of a run, then each as it comes."""
    from reid.runs.metrics.records import newest_run
    from reid.runs.metrics.texts import row_line

    record = newest_run(run)
    printed = 0.0
    rows = [row for row in record.table.rows if row["kind"] != "begin"]
    shown = rows[len(rows) - min(lines, len(rows)) :]
    while True:
        for row in shown:
            print(row_line(row, record), flush=True)
        printed = max([printed, *(float(row["time"]) for row in record.table.rows)])
        if once or record.state != "running":
            break
        time.sleep(every)
        record = record.again()
        shown = [row for row in record.table.rows if row["time"] > printed]
    print(f"{record.name}: {record.state}{f': {record.error}' if record.error else ''}")


if __name__ == "__main__":
    run_verb(main_tail)
