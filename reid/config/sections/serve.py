"""The configuration of the gallery, the endpoint and Ray."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.typed import Section


class IndexConfig(Section):
    """The durable gallery."""

    gallery: str | None = Field(None, description="where; default: a folder in workdir named by the run")
    split: Literal["train", "val", "test"] = "test"
    subsets: tuple[str, ...] | None = Field(
        None, description="gallery subsets to embed; default: the model's"
    )
    thumbnail: int = Field(128, ge=16, description="longest side of stored thumbnails, pixels")
    search: Literal["exact", "ann"] = "exact"
    batch_size: int = Field(64, ge=1)


class ServeConfig(Section):
    """The endpoint. Mutating routes need the token; `auth: all` guards searching too."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    route_prefix: str = "/"
    auth: Literal["mutating", "all"] = "mutating"
    token_env: str = "ANYREID_TOKEN"
    max_upload_mib: float = Field(8.0, gt=0)
    max_pixels: int = Field(20_000_000, gt=0)
    max_text_chars: int = Field(1000, gt=0)
    max_top_k: int = Field(100, ge=1)
    requests_per_minute: int = Field(600, ge=1, description="per client address, per replica")
    batch_size: int = Field(8, ge=1)
    batch_wait_s: float = Field(0.005, ge=0)
    max_ongoing_requests: int = Field(
        256,
        ge=1,
        description="requests that a replica holds at once (never under twice batch_size); as many more "
        "wait in the proxy, the rest get 503",
    )
    request_timeout_s: float = Field(
        60, gt=0, description="a request unanswered for so long is ended with 408"
    )
    replicas: int = Field(1, ge=1)
    gpus_per_replica: float = Field(0, ge=0, description="GPUs of an embedder; 0 embeds on the CPU")
    prior: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="chance that an item is the query's object before looking; default: 1 / (items + 1)",
    )


class RayConfig(Section):
    """How Ray is started and set when there is no cluster to join (RAY_ADDRESS is honoured), and how long
    verbs wait for room on either."""

    profile: Literal["small", "cluster"] = "small"
    num_cpus: int | None = Field(None, ge=1, description="logical CPUs of a local Ray; default: cores + 1")
    object_store_mib: int = Field(512, ge=80)
    wait_s: float = Field(
        1800,
        gt=0,
        description="how long a verb waits for room on the cluster (also for new nodes) before it fails; "
        "time of work does not count",
    )
    tell_every_s: float = Field(30, gt=0, description="while it waits: seconds from line to line")
