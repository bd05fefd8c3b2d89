"""What a verb asks of a Ray cluster, against what the cluster has or can get.

`check` refuses only what can never be had: more than all nodes together hold, counting the nodes that an
autoscaler declares. Where an autoscaler declares nothing, nothing is refused: `waiting` waits.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from reid.errors import ConfigError

Amounts = Mapping[str, float]
_NODE_GROUP = "ray.io/node-group"
"""The label of a node that an autoscaler started: the kind of node it is."""


@dataclass(frozen=True)
class Request:
    """`count` processes, each of which takes `bundle` of one node."""

    what: str
    count: int
    bundle: Amounts
    fields: Mapping[str, Any]
    """The configuration fields, with their values, that ask for it."""
    least: int | None = None
    """How many must be there before work begins; all of them by default."""

    @property
    def needs(self) -> dict[str, float]:
        """What one process takes, without zeros."""
        return {name: amount for name, amount in self.bundle.items() if amount > 0}

    @property
    def begin(self) -> int:
        """How many must be there before work begins."""
        return self.count if self.least is None else min(self.least, self.count)

    def told(self, count: int | None = None) -> str:
        """ "2 workers of {CPU: 1, GPU: 1}"."""
        return f"{self.count if count is None else count} {self.what} of {amounts(self.needs)}"

    def asked(self) -> str:
        """ "train.workers=2, train.cpus_per_worker=1"."""
        return ", ".join(f"{name}={value}" for name, value in self.fields.items())


@dataclass(frozen=True)
class NodeKind:
    """Nodes that an autoscaler may start, and how many of them there may be."""

    resources: Amounts
    most: float


@dataclass(frozen=True)
class Cluster:
    """The living nodes, and what may come."""

    nodes: Sequence[Amounts]
    free: Sequence[Amounts]
    kinds: Sequence[NodeKind] = ()
    limits: Mapping[str, float] | None = None
    """Most of a resource that an autoscaler may have running; of living nodes nothing is taken away."""
    autoscales: bool = False
    """An autoscaler runs that does not say how far it may go."""
    grown: Sequence[Amounts] = ()
    """Those of `nodes` that are of the `kinds`."""

    def most(self, bundle: Amounts) -> float:
        """How many of a bundle the cluster can ever hold at once."""
        standing = sum(fits(bundle, node) for node in self.nodes)
        grown = sum(fits(bundle, node) for node in self.grown)
        return standing - grown + sum(_times(kind.most, fits(bundle, kind.resources)) for kind in self.kinds)

    def total(self, resource: str) -> float:
        """The most of a resource that the cluster can ever have."""
        standing = sum(node.get(resource, 0) for node in self.nodes)
        grown = sum(node.get(resource, 0) for node in self.grown)
        may = sum(_times(kind.most, kind.resources.get(resource, 0)) for kind in self.kinds)
        return max(standing, standing - grown + min(may, (self.limits or {}).get(resource, math.inf)))

    def room(self, bundle: Amounts) -> int:
        """How many of a bundle fit now."""
        return sum(fits(bundle, node) for node in self.free)

    def told_free(self, resources: Sequence[str]) -> str:
        """ "1 of 8 CPUs and 0 of 2 GPUs free"."""
        parts = []
        for name in resources:
            free, has = (sum(node.get(name, 0) for node in nodes) for nodes in (self.free, self.nodes))
            parts.append(f"{free:g} of {has:g} {_plural(name)}")
        return " and ".join(parts) + " free"

    def told_nodes(self, resources: Sequence[str]) -> str:
        """ "2 nodes of {CPU: 8, GPU: 0}", with the nodes that may come."""
        shapes: dict[str, int] = {}
        for node in self.nodes:
            shape = amounts({name: node.get(name, 0) for name in resources})
            shapes[shape] = shapes.get(shape, 0) + 1
        parts = [f"{count} {'node' if count == 1 else 'nodes'} of {shape}" for shape, count in shapes.items()]
        for kind in self.kinds:
            shape = amounts({name: kind.resources.get(name, 0) for name in resources})
            parts.append(f"an autoscaler of at most {kind.most:g} nodes of {shape}")
        return " and ".join(parts) or "no node"


def check(requests: Sequence[Request], together: bool = True, cluster: Cluster | None = None) -> None:
    """Raise ConfigError for what the cluster can never give. `together`: all requests at the same time."""
    requests = [request for request in requests if request.needs]
    if not requests:
        return
    cluster = cluster or look()
    if cluster.autoscales:
        return
    for request in requests:
        totals = (cluster.total(name) / amount for name, amount in request.needs.items())
        most = min([cluster.most(request.needs), *totals])
        if most + 1e-6 < request.count:
            raise ConfigError(_refusal([request], cluster, f"at most {math.floor(most + 1e-6)} can ever fit"))
    if together and len(requests) > 1:
        for name in dict.fromkeys(name for request in requests for name in request.needs):
            wanted = sum(request.count * request.needs.get(name, 0) for request in requests)
            if wanted > cluster.total(name) + 1e-6:
                raise ConfigError(
                    _refusal(requests, cluster, f"together {wanted:g} {_plural(name)}, which can never fit")
                )


def at_once(count: int, cpus: float = 1) -> int:
    """How many of `count` tasks that take so many CPUs the cluster's nodes can work at the same time."""
    return max(1, min(count, sum(fits({"CPU": cpus}, node) for node in look().nodes)))


def look() -> Cluster:
    """The cluster as it is now."""
    from ray._private.state import state

    free_of: dict[str, dict[str, float]] = state.available_resources_per_node()  # type: ignore[no-untyped-call]
    table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    living = [node for node in table if node["Alive"]]
    config = state.get_cluster_config()
    groups = [g for g in config.node_group_configs if g.max_count != 0] if config else []
    names = {group.name for group in groups}
    grown = [node["Resources"] for node in living if node.get("Labels", {}).get(_NODE_GROUP) in names]
    return Cluster(
        nodes=[node["Resources"] for node in living],
        free=[free_of.get(node["NodeID"], {}) for node in living],
        kinds=[NodeKind(dict(g.resources), math.inf if g.max_count < 0 else g.max_count) for g in groups],
        limits=dict(config.max_resources) if config else None,
        autoscales=not groups and _autoscaler_runs(living),
        grown=grown,
    )


def _autoscaler_runs(living: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an autoscaler manages the nodes. Ray's monitor runs on every cluster: where it only looks on,
    each node is a kind of its own, named node_<id>.
    """
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    kinds: set[str] = set()
    if status := _internal_kv_get(DEBUG_AUTOSCALING_STATUS):  # the first autoscaler
        report = json.loads(status).get("autoscaler_report") or {}
        kinds |= {*report.get("active_nodes", ()), *report.get("pending_launches", ())}
    if is_autoscaler_v2(fetch_from_server=True):
        kinds |= {node.get("Labels", {}).get(_NODE_GROUP) or "" for node in living}
    return any(kind and not kind.startswith(("node_", "local")) for kind in kinds)


def fits(bundle: Amounts, node: Amounts) -> int:
    """How many of a bundle one node holds."""
    return math.floor(min(node.get(name, 0) / amount for name, amount in bundle.items()) + 1e-6)


def amounts(bundle: Amounts) -> str:
    """ "{CPU: 1, GPU: 0.5}"."""
    return "{" + ", ".join(f"{name}: {amount:g}" for name, amount in bundle.items()) + "}"


def _times(count: float, each: float) -> float:
    return count * each if each else 0.0  # no nodes of infinitely many are none


def _plural(resource: str) -> str:
    return f"{resource}s" if resource.isupper() else resource


def _refusal(requests: Sequence[Request], cluster: Cluster, why: str) -> str:
    names = list(dict.fromkeys(name for request in requests for name in request.needs))
    wanted = " and ".join(request.told() for request in requests)
    lacks = [n for n in names if sum(r.count * r.needs.get(n, 0) for r in requests) > cluster.total(n)]
    if os.environ.get("RAY_ADDRESS"):
        remedy = "add nodes that hold it"
    else:
        remedy = "name a cluster that holds it in RAY_ADDRESS"
        if lacks == ["CPU"]:
            remedy = f"raise ray.num_cpus (logical CPUs of the local Ray), or {remedy}"
    return (
        f"{', '.join(request.asked() for request in requests)}: asks for {wanted}; the cluster has "
        f"{cluster.told_nodes(names)}: {why}. Lower these fields, or {remedy}."
    )
