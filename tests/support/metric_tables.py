"""Run folders with metrics and a configuration, without a training."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from reid.runs.metrics.writing import to_parquet
from reid.storage.run_files import RUN_FILE


def write_metrics(
    run: Path,
    epochs: int = 4,
    wanted: int = 4,
    ends: str | None = "finished",
    level: float = 0.5,
    age_s: float = 5.0,
    routers: tuple[str, ...] = ("block3", "block11"),
    **train: Any,
) -> Path:
    """A run of 100 steps an epoch, a step a second, whose newest row is `age_s` old; `level` is its val/mAP.

    `ends`: finished (with run.json), stopped, failed, or None for one that has not ended.
    """
    steps, now = 100, time.time() - age_s
    rows: list[dict[str, Any]] = [{"kind": "begin", "total": 0, "epoch": 0, "time": now - epochs * steps}]
    for total in range(10, epochs * steps + 1, 10):
        share = total / (epochs * steps)
        load = {
            f"stat/{router}/load/{e}": (1 + 0.6 * math.cos(math.pi * e / 2 + total / 90)) / 4
            for router in routers
            for e in range(4)
        }
        row = {
            "total": total,
            "epoch": total // steps,
            "time": now - epochs * steps + total,
            "loss": 3 * math.exp(-2 * share) + 0.2 * math.sin(total),
            "loss/id": 2 * math.exp(-2 * share),
            "lr": 1e-3 * (1 - share),
            "grad_norm": 1 + math.sin(total / 30) ** 2,
            "rows_per_s": 220.0 + 20 * math.sin(total / 50),
            "data_wait": 0.03,
            **load,
            **{f"stat/{router}/dead": float(total < 100) for router in routers},
        }
        rows.append({**row, "kind": "step", "step": total % steps or steps, "steps": steps})
        if total % steps == 0:
            validated = {"val/mAP": level * (1 - math.exp(-3 * share)), "seconds": 100.0}
            rows.append({**row, **validated, "kind": "epoch"})
    if ends:
        error = {"error": "TrainingError: Loss is nan"} if ends == "failed" else {}
        rows.append(
            {"kind": "end", "total": epochs * steps, "epoch": epochs, "time": now, "why": ends, **error}
        )
    (run / "metrics").mkdir(parents=True)
    if ends == "finished":
        whole = to_parquet([{**row, "attempt": 1} for row in rows])
        (run / "metrics/0001-all.parquet").write_bytes(whole)
        (run / RUN_FILE).write_text(json.dumps({"name": run.parent.name, "epochs": epochs}))
    else:
        (run / "metrics/0001-000001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {"name": run.parent.name, "seed": 0, "workdir": str(run), "train": {"epochs": wanted, **train}}
    (run / "config.json").write_text(json.dumps(config))
    return run
