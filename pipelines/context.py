"""The one place that sets Ray Data up; `ray.init` itself is called by jobs only.

Ray 2.60's defaults suit thousands of large files: on small data they cost seconds per read and per sort.
Profile `small` (laptop, tests, below 1e5 rows) takes the light paths; `cluster` keeps the scalable ones.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, Literal

import ray.data
from ray.util.annotations import RayDeprecationWarning

Profile = Literal["small", "cluster"]
_CRASHES = "anyreid.crashes"
"""How often a worker that dies is replaced: set per profile. Ray Data's own default is for ever."""


def configure_data_context(profile: Profile) -> None:
    """Set Ray Data up for a profile; once per driver process."""
    from ray.data.context import ShuffleStrategy

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.max_errored_blocks = 0  # bad rows travel as rows
    context.target_max_block_size = None  # a block is a whole shard, never cut
    context.enable_progress_bars = False  # we print rows, rate and time left ourselves
    context.print_on_execution_start = False
    context.execution_options.verbose_progress = False
    context.set_config(_CRASHES, 0 if profile == "small" else 2)
    if profile == "small":
        context.use_datasource_v2 = False
        context.shuffle_strategy = ShuffleStrategy.SORT_SHUFFLE_PULL_BASED
        context.execution_no_progress_timeout_s = 300
    else:
        os.environ.setdefault("RAY_DATA_PARQUET_FOOTER_NUM_ACTORS", "4")
        context.execution_no_progress_timeout_s = 1800


def map_blocks(dataset: ray.data.Dataset, function: Callable[..., Any], **options: Any) -> ray.data.Dataset:
    """`dataset.map_batches` over Arrow tables; a worker that keeps dying ends it."""
    actors = isinstance(options.get("compute"), ray.data.ActorPoolStrategy)
    crashes = ray.data.DataContext.get_current().get_config(_CRASHES, 2)
    limits: dict[str, Any] = (
        {"max_restarts": crashes, "max_task_retries": crashes} if actors else {"max_retries": max(1, crashes)}
    )
    with warnings.catch_warnings():
        # 2.60 deprecates these as keyword arguments (gone in 2.64) and has no other spelling yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return dataset.map_batches(function, batch_format="pyarrow", **options, **limits)
