"""The trackers by name: what each needs, and how it is made. A new tracker is one entry here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass

from reid.config import Config
from reid.errors import ConfigError
from reid.train.tracking.mlflow import MLflow, tracking_uri
from reid.train.tracking.tensorboard import TensorBoard
from reid.train.tracking.tracker import RunFacts, Tracker
from reid.train.tracking.wandb import Wandb


@dataclass(frozen=True)
class TrackerEntry:
    """A tracker: the package it needs, our extra that installs it, and whether the configuration sets it."""

    package: str
    extra: str
    is_set: Callable[[Config], bool]
    make: Callable[[Config, RunFacts], Tracker]


TRACKERS: dict[str, TrackerEntry] = {
    "tensorboard": TrackerEntry(
        "tensorboardX",
        "",  # one of our own requirements
        lambda config: True,
        lambda config, facts: TensorBoard(facts, config.train.tracking.every_s),
    ),
    "mlflow": TrackerEntry(
        "mlflow",
        "mlflow",
        lambda config: config.train.tracking.mlflow is not None,
        lambda config, facts: _mlflow(config, facts),
    ),
    "wandb": TrackerEntry(
        "wandb",
        "wandb",
        lambda config: config.train.tracking.wandb is not None,
        lambda config, facts: _wandb(config, facts),
    ),
}


def check_trackers(config: Config) -> None:
    """Raise ConfigError for a tracker that is set and cannot work here: no package, no place, no key.

    >>> from reid.config import load
    >>> check_trackers(load("baseline/synthetic"))
    """
    for name, entry in TRACKERS.items():
        if entry.is_set(config) and importlib.util.find_spec(entry.package) is None:
            install = f"anyreid[{entry.extra}]" if entry.extra else entry.package
            raise ConfigError(
                f"train.tracking.{name}: the package {entry.package} is not installed. "
                f"Run: pip install '{install}', or unset the field."
            )
    tracking = config.train.tracking
    if tracking.mlflow is not None and tracking_uri(tracking.mlflow, config.workdir) is None:
        raise ConfigError(
            "train.tracking.mlflow.uri: missing, and a workdir on S3 cannot hold MLflow's folder; name a "
            "tracking server (or set MLFLOW_TRACKING_URI), or a folder as file:///…."
        )
    if tracking.wandb is not None and tracking.wandb.mode == "online" and not _has_wandb_key():
        raise ConfigError(
            "train.tracking.wandb: no API key here. Run `wandb login` or set WANDB_API_KEY, or set "
            "train.tracking.wandb.mode=offline."
        )


def trackers_of(config: Config, facts: RunFacts) -> list[Tracker]:
    """The trackers that the configuration sets, not opened yet."""
    return [entry.make(config, facts) for entry in TRACKERS.values() if entry.is_set(config)]


def _mlflow(config: Config, facts: RunFacts) -> Tracker:
    settings = config.train.tracking.mlflow
    assert settings is not None
    return MLflow(facts, settings, tracking_uri(settings, config.workdir) or "")


def _wandb(config: Config, facts: RunFacts) -> Tracker:
    settings = config.train.tracking.wandb
    assert settings is not None
    return Wandb(facts, settings)


def _has_wandb_key() -> bool:
    """Asked as W&B's client asks: the variable, or an entry of ~/.netrc; no network."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return True
    import netrc

    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts) or "WANDB_BASE_URL" in os.environ
