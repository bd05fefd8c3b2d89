"""Cluster files say what KubeRay understands, and the versions that the lock pins."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reid.config import load
from tests.support.places import ROOT

CLUSTER = ROOT / "cluster"
MANIFESTS = sorted(CLUSTER.glob("*.yaml"))

# Field names of KubeRay's ray.io/v1 types. The API server drops unknown ones without a word.
RAY_JOB = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "clusterSelector",
    "deletionStrategy",
    "entrypoint",
    "entrypointNumCpus",
    "entrypointNumGpus",
    "preRunningDeadlineSeconds",
    "rayClusterSpec",
    "runtimeEnvYAML",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "submitterConfig",
    "suspend",
    "ttlSecondsAfterFinished",
}
RAY_SERVICE = {
    "excludeHeadPodFromServeSvc",
    "rayClusterConfig",
    "rayClusterDeletionDelaySeconds",
    "serveConfigV2",
    "upgradeStrategy",
}
RAY_CLUSTER = {
    "authOptions",
    "autoscalerOptions",
    "enableInTreeAutoscaling",
    "gcsFaultToleranceOptions",
    "headGroupSpec",
    "networkPolicy",
    "rayVersion",
    "tlsOptions",
    "workerGroupSpecs",
}
HEAD_GROUP = {"rayStartParams", "template"}
WORKER_GROUP = HEAD_GROUP | {
    "groupName",
    "idleTimeoutSeconds",
    "labels",
    "maxReplicas",
    "minReplicas",
    "priority",
    "replicas",
}
SPECS = {"RayJob": RAY_JOB, "RayService": RAY_SERVICE, "RayCluster": RAY_CLUSTER}
SUBMISSION_MODES = {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}


def ray_documents() -> list[Any]:
    return [
        pytest.param(document, id=f"{path.name}-{document['kind']}")
        for path in MANIFESTS
        for document in yaml.safe_load_all(path.read_text())
    ]


def cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    for key in ("rayClusterSpec", "rayClusterConfig"):
        spec = spec.get(key, spec)
    return spec


def containers(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
        yield from group["template"]["spec"]["containers"]


@pytest.fixture(scope="module")
def locked_ray() -> str:
    found = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found, "requirements.lock pins no ray"
    return found[1]


def test_there_are_manifests() -> None:
    assert MANIFESTS


@pytest.mark.parametrize("document", ray_documents())
def test_kind_version_and_keys_are_known(document: dict[str, Any]) -> None:
    assert document["apiVersion"] == "ray.io/v1"
    assert document["kind"] in SPECS
    assert document["metadata"]["name"]
    cluster = cluster_of(document)
    assert set(document["spec"]) <= SPECS[document["kind"]]
    assert set(cluster) <= RAY_CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD_GROUP
    for group in cluster.get("workerGroupSpecs", []):
        assert set(group) <= WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    if document["kind"] == "RayJob":
        assert document["spec"]["submissionMode"] in SUBMISSION_MODES


@pytest.mark.parametrize("document", ray_documents())
def test_versions_are_those_of_the_lock(document: dict[str, Any], locked_ray: str) -> None:
    cluster = cluster_of(document)
    assert cluster["rayVersion"] == locked_ray
    tags = {container["image"].rpartition(":")[2] for container in containers(cluster)}
    assert tags == {f"ray-{locked_ray}"}


@pytest.mark.parametrize("document", ray_documents())
def test_the_cluster_asks_for_a_token_and_no_root(document: dict[str, Any]) -> None:
    cluster = cluster_of(document)
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_no_secret_is_written_down(path: Path) -> None:
    assert not re.search(r"(SECRET|TOKEN|PASSWORD)\w*[\"']?\s*[:=]\s*[\"']?\w{8}", path.read_text())


@pytest.mark.parametrize("document", ray_documents())
def test_the_entrypoint_is_one_shell_command_of_our_verbs(document: dict[str, Any]) -> None:
    if document["kind"] != "RayJob":
        pytest.skip("only a RayJob has an entrypoint")
    shell, flag, script = shlex.split(document["spec"]["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    assert "\n" not in script
    for step in script.split("&&"):
        python, dash_m, verb, preset_flag, preset, *overrides = shlex.split(step)
        assert (python, dash_m, preset_flag) == ("python", "-m", "--preset")
        assert (ROOT / (verb.replace(".", "/") + ".py")).is_file(), f"{verb} is no verb"
        # Hosts share nothing but the store, and the configuration must be one that loads.
        assert load(preset, overrides).workdir.startswith("s3://")


def test_the_image_is_built_from_the_lock(locked_ray: str) -> None:
    text = (CLUSTER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    installs = [line for line in lines if "pip install" in line]
    assert any("--require-hashes -r requirements.lock" in line for line in installs)
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    for line in lines:
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), f"{line}: no {source}"
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1] not in {"root", "0"}
    assert not any(line.startswith("ARG") for line in lines), "build arguments stay in the image"
    assert f"anyreid:ray-{locked_ray}" in text


def test_the_readme_names_the_image_that_the_manifests_use(locked_ray: str) -> None:
    assert f"anyreid:ray-{locked_ray}" in (CLUSTER / "README.md").read_text()
