"""MLflow: a run of a tracking server, or of a folder without one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reid import storage
from reid.config.sections.training.tracking import MLflowConfig
from reid.train.tracking.tracker import Logged, RunFacts, Tracker

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_AT_ONCE = 100
_LONGEST = 500
_REFUSED = re.compile(r"[^\w\-. ]")
"""In names of metrics and tags. A slash would do but in a folder, where `loss` is a file and `loss/id` one
below it; so it is a dot."""
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def tracking_uri(config: MLflowConfig, workdir: str) -> str | None:
    """Where runs are logged: by setting, by MLFLOW_TRACKING_URI, else below `workdir` if that is a folder.

    >>> tracking_uri(MLflowConfig(uri="https://mlflow.example"), "runs")
    'https://mlflow.example'
    >>> tracking_uri(MLflowConfig(), "s3://bucket/runs") is None
    True
    """
    if found := config.uri or os.environ.get("MLFLOW_TRACKING_URI"):
        return found
    return None if storage.is_remote(workdir) else f"file://{storage.absolute(workdir)}/mlflow"


class MLflow(Tracker):
    """Logs parameters, tags and metrics; a resumed run goes on in its MLflow run, found by a tag.

    Args:
        facts: of the run.
        config: the settings.
        uri: of the tracking server or folder.
    """

    name = "MLflow"

    def __init__(self, facts: RunFacts, config: MLflowConfig, uri: str) -> None:
        self.facts, self.config, self.uri = facts, config, uri
        self._client: MlflowClient | None = None
        self._run = ""

    def begin(self, total: int) -> None:
        """Find the run or create it. What it logged beyond `total` stays in its history, as older values."""
        if self.uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else it asks for a database
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        client = self._client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.config.experiment)
        where = experiment.experiment_id if experiment else client.create_experiment(self.config.experiment)
        found = client.search_runs([where], f"tags.anyreid_key = '{self.facts.key}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            client.update_run(self._run, "RUNNING")
            client.set_tag(self._run, "anyreid_resumed_at", str(total))
            return
        self._run = client.create_run(where, run_name=self.facts.name).info.run_id
        tags = {"anyreid_key": self.facts.key, "anyreid_run": self.facts.run}
        tags |= {f"anyreid_{name}": str(value) for name, value in self.facts.facts.items()}
        client.log_batch(self._run, tags=[RunTag(k, v) for k, v in tags.items()])
        params = [Param(name, value[:_LONGEST]) for name, value in flat(self.facts.config)]
        for first in range(0, len(params), _AT_ONCE):
            client.log_batch(self._run, params=params[first : first + _AT_ONCE])

    def log(self, at: Logged) -> None:
        """A metric each, at step `total`."""
        from mlflow.entities import Metric

        when = int(1000 * at.time)
        metrics = [Metric(allowed(k), v, when, at.total) for k, v in at.metrics.items()]
        for first in range(0, len(metrics), _AT_ONCE):
            self._opened.log_batch(self._run, metrics=metrics[first : first + _AT_ONCE])

    def end(self, why: str, final: Mapping[str, float]) -> None:
        """Final metrics as tags, and the status."""
        for name, value in final.items():
            self._opened.set_tag(self._run, allowed(f"final/{name}"), f"{value:.6g}")
        self._opened.set_terminated(self._run, _STATUS[why])

    @property
    def _opened(self) -> MlflowClient:
        assert self._client is not None, "begin() comes first"
        return self._client


def allowed(name: str) -> str:
    """A metric's name as MLflow takes it, on servers and in folders.

    >>> allowed("val/mAP/rgb → nir+tir")
    'val.mAP.rgb _ nir_tir'
    """
    return _REFUSED.sub("_", name.replace("/", "."))


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """A configuration's fields by dotted name, as text.

    >>> list(flat({"train": {"epochs": 2}, "seed": 1}))
    [('train.epochs', '2'), ('seed', '1')]
    """
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", str(value)
