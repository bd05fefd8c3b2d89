"""The configuration of the gallery, the endpoint and Ray."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.sections.field_types import Gpus
from reid.config.typed import Section


class IndexConfig(Section):
    """The durable gallery."""

    gallery: str | None = Field(
        None,
        description="where the gallery is stored, or a folder of galleries, one a run; default: a folder in "
        "workdir named after the run",
    )
    split: Literal["train", "val", "test"] = Field("test", description="split whose samples are indexed")
    subsets: tuple[str, ...] | None = Field(
        None,
        description="modality subsets whose vectors are stored; of an item those that it has and that no "
        "other of them contains (all, where the model compares common modalities only); default: those that "
        "the model needs",
    )
    thumbnail: int = Field(128, ge=16, description="longest side of stored thumbnails in pixels")
    search: Literal["exact", "ann"] = Field(
        "exact", description="exact search, or approximate nearest neighbours (ann)"
    )
    batch_size: int = Field(64, ge=1, description="number of samples embedded together")


class ServeConfig(Section):
    """The HTTP endpoint. Routes that change the gallery need the token; with `auth: all` every route does."""

    host: str = Field("127.0.0.1", description="address that the HTTP server listens on")
    port: int = Field(8000, ge=0, le=65535, description="port that the HTTP server listens on")
    route_prefix: str = Field("/", description="path below which all routes lie")
    auth: Literal["mutating", "all"] = Field(
        "mutating", description="routes that need the token: those that change the gallery, or all"
    )
    token_env: str = Field("ANYREID_TOKEN", description="environment variable that holds the token")
    max_upload_mib: float = Field(8.0, gt=0, description="largest request body in MiB")
    max_pixels: int = Field(20_000_000, gt=0, description="largest number of pixels of an uploaded image")
    max_text_chars: int = Field(1000, gt=0, description="largest number of characters of a text query")
    max_top_k: int = Field(100, ge=1, description="largest number of results of one search")
    requests_per_minute: int = Field(
        600, ge=1, description="largest number of requests in a minute for each client address and replica"
    )
    batch_size: int = Field(
        32,
        ge=1,
        description="largest number of searches embedded together; a batch takes what waits, without a timer",
    )
    max_ongoing_requests: int = Field(
        256,
        ge=1,
        description="requests that a replica holds at once, at least twice batch_size; as many more "
        "wait in the proxy, others get 503",
    )
    request_timeout_s: float = Field(
        60, gt=0, description="seconds after which an unanswered request ends with 408"
    )
    replicas: int = Field(1, ge=1, description="number of copies of the endpoint")
    gpus_per_replica: Gpus = Field(
        "auto",
        description="GPUs of each replica's embedder, whole or a part; auto: an equal share of those "
        "that are there, at most one; 0 embeds on the CPU",
    )
    prior: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="prior probability that a gallery item shows the query's object; default: 1 / "
        "(items + 1)",
    )


class RayConfig(Section):
    """How a local Ray is started if RAY_ADDRESS names no cluster, and how long verbs wait for resources."""

    profile: Literal["small", "cluster"] = Field(
        "small", description="settings of Ray Data: small for one machine, cluster for several"
    )
    num_cpus: int | None = Field(None, ge=1, description="logical CPUs of a local Ray; default: cores + 1")
    object_store_mib: int = Field(512, ge=80, description="memory of a local Ray's object store in MiB")
    wait_s: float = Field(
        1800,
        gt=0,
        description="longest time in seconds that a verb waits for free resources or new nodes "
        "before it fails; running work does not count",
    )
    tell_every_s: float = Field(
        30, gt=0, description="seconds between two messages while a verb waits for resources"
    )
