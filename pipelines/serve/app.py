"""The Ray Serve application: built, started, watched and stopped.

A Serve config file names it as `import_path: pipelines.serve.app:build`, for `serve deploy` and RayService.
(`serve build` takes built applications only, not builders.) Serve is then started by somebody else: its
proxies need the variable of `pipelines.serve.headers` in the environment of the cluster's nodes, or in the
file's `controller_options`. The token is read from the environment of the replicas; it is never an
argument, since arguments are shown on the dashboard.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.exceptions import RayServeException

from pipelines.placement.gpus import gpus_each, share_of
from pipelines.placement.resources import Request, check, look
from pipelines.placement.waiting import wait_for, watched
from pipelines.progress import Say, say
from pipelines.serve.endpoint import STOP_MARGIN_S, Endpoint, ServeArgs, ongoing_requests
from pipelines.serve.headers import IMPORT_PATH, TIMEOUT_HEADER, VARIABLE
from reid.config import Config, ServeConfig
from reid.errors import ServiceError

APP_NAME = "anyreid"
_READY_S = 180.0
_STOP_CHECK_S = 0.2

log = logging.getLogger("anyreid.serve")


def build(args: dict[str, Any]) -> Application:
    """The application for `ServeArgs`-shaped arguments: {run, gallery, search, serve: {…}}."""
    checked = ServeArgs.model_validate(args)
    config = checked.serve
    gpus = config.gpus_per_replica
    if gpus == "auto":  # as in a Serve config file; `run` has decided and told it
        gpus = share_of(look().total("GPU"), config.replicas)
        config = config.model_copy(update={"gpus_per_replica": gpus})
        checked = checked.model_copy(update={"serve": config})
    # Full replicas are worse than a long queue in one: the routers then wait longer and longer between tries.
    ongoing = ongoing_requests(config)
    deployment: Any = serve.deployment  # its overloads do not know a bare class
    endpoint = deployment(Endpoint).options(
        name="Endpoint",
        num_replicas=config.replicas,
        max_ongoing_requests=ongoing,
        max_queued_requests=ongoing,
        # Nothing in flight outlives its time limit, so that a replica which stops can answer all it holds.
        graceful_shutdown_wait_loop_s=_STOP_CHECK_S,
        graceful_shutdown_timeout_s=config.request_timeout_s + STOP_MARGIN_S,
        health_check_period_s=5,
        health_check_timeout_s=30,
        max_constructor_retry_count=2,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
    )
    app: Application = endpoint.bind(checked.model_dump(mode="json"))
    return app


def run(
    config: Config,
    blocking: bool = False,
    run_uri: str | None = None,
    gallery_uri: str | None = None,
    out: Say = say,
) -> str:
    """Deploy on the Ray that is already initialised, wait until it answers, and return its URL.

    `run_uri` defaults to `config.run`, `gallery_uri` to that run's own gallery. With `blocking` it
    serves until Ctrl-C. Raises ServiceError when the port is taken or the application does not come
    up, GalleryError or WeightsError when there is nothing to serve.
    """
    from reid.config import addresses
    from reid.gallery.store import Gallery
    from reid.runs.folder import RunFolder

    chosen = run_uri or config.run
    if chosen is None:
        raise ServiceError("No run to serve: point `run=` at a run folder.")
    # Asked here, these failures are one clear message; in a replica they are a stack of retries.
    folder = RunFolder.open(chosen)
    place = gallery_uri or addresses.gallery_uri(config, folder.fingerprint)
    gallery = Gallery.open(place, folder.fingerprint)
    gallery.check_model(folder.fingerprint)
    settings = config.serve
    port = _free_port(settings.host, settings.port)
    gpus = gpus_each("serve", config, out)
    args = ServeArgs(
        run=folder.uri,
        gallery=gallery.uri,
        search=config.index.search,
        serve=settings.model_copy(update={"gpus_per_replica": gpus}),
    )
    options = {
        "host": settings.host,
        "port": port,
        "request_timeout_s": settings.request_timeout_s,
    }
    requests = serve_requests(settings, gpus)
    replaces = APP_NAME in serve.status().applications
    if replaces:
        check(requests)  # what runs already gives its room to what replaces it
    else:
        wait_for("serve", requests, config.ray, out)
    # The proxies inherit the controller's environment. Whoever names middleware of their own wins.
    environment = {VARIABLE: os.environ.get(VARIABLE, IMPORT_PATH)}
    many = "1 replica" if settings.replicas == 1 else f"{settings.replicas} replicas"
    out(f"serve: starting {many} of {folder.uri} on {gallery.uri}, {gallery.count()} items")
    try:
        serve.start(
            http_options=options,
            proxy_location="HeadOnly",
            controller_options={"runtime_env": {"env_vars": environment}},
        )
        with watched("serve", requests, config.ray, out, replicas_wait):
            serve.run(build(args.model_dump(mode="json")), name=APP_NAME, route_prefix=settings.route_prefix)
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
        url = f"http://{shown}:{port}{settings.route_prefix.rstrip('/')}"
        wait_ready(url)
    except RuntimeError as error:
        raise ServiceError(f"The endpoint did not start: {error}") from error
    except (KeyboardInterrupt, SystemExit):
        _withdraw(replaces, out)
        raise
    if timeout_is_clients(url):
        log.warning(
            "Any client can switch serve.request_timeout_s off with the header %s: Serve was started on this "
            "cluster without our middleware. Set %s=%s in the environment of the cluster's nodes before Ray "
            "starts there, or shut Serve down and start this endpoint first.",
            TIMEOUT_HEADER,
            VARIABLE,
            IMPORT_PATH,
        )
    if blocking:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        stop()
    return url


def serve_requests(settings: ServeConfig, gpus: float) -> list[Request]:
    """What the endpoint asks of the cluster, all at the same time."""
    fields = {f"serve.{name}": getattr(settings, name) for name in ("replicas", "gpus_per_replica")}
    what = "replica" if settings.replicas == 1 else "replicas"
    return [Request(what, settings.replicas, {"CPU": 1, "GPU": gpus}, fields)]


def replicas_wait(requests: Sequence[Request]) -> bool:
    """Whether replicas start, and there is no room for one of them."""
    found = serve.status().applications.get(APP_NAME)
    states = [d.replica_states for d in found.deployments.values()] if found else []
    starting = any(count for state in states for name, count in state.items() if name == "STARTING")
    cluster = look()
    return starting and any(cluster.room(request.needs) == 0 for request in requests)


def stop() -> None:
    """Take the endpoint down once it has answered what is in flight, and Serve with it if nothing else is
    served on this cluster. Nothing happens if it does not run.
    """
    # `serve.shutdown` alone, as the end of Ray, drops what is in flight; the deletion of an application
    # waits for its replicas, which stop when they hold no request, or after their graceful timeout.
    if APP_NAME in serve.status().applications:
        _close()
    while APP_NAME in serve.status().applications:
        try:
            serve.delete(APP_NAME)
        except TimeoutError:  # Serve waits a minute; the replicas' own limit may be longer
            log.warning("still answering requests; the endpoint stops after serve.request_timeout_s at most")
    if not serve.status().applications:
        serve.shutdown()  # type: ignore[no-untyped-call]


def _withdraw(replaces: bool, out: Say) -> None:
    """After Ctrl-C while it starts: leave nothing half started on the cluster, and do not wait for it."""
    if replaces:
        out("serve: stopped while it replaced an endpoint; the cluster goes on with that by itself")
        return
    out("serve: stopped before it answered; taking it down")
    with contextlib.suppress(Exception):
        serve.delete(APP_NAME, _blocking=False)


def _close() -> None:
    """Let no more requests into the replicas, and wait until they have answered those that they hold."""
    try:
        left = serve.get_app_handle(APP_NAME).broadcast("close").results()
    except (RayError, RayServeException) as error:
        log.warning("the endpoint cannot be emptied, requests being sent may be lost: %s", error)
        return
    if sum(left):
        log.warning("%d requests were not answered within serve.request_timeout_s", sum(left))


def timeout_is_clients(url: str) -> bool:
    """Whether the endpoint obeys a client that chooses its own time limit (see `pipelines.serve.headers`)."""
    import httpx

    answer = httpx.get(f"{url}/healthz", headers={TIMEOUT_HEADER: "0.000001"}, trust_env=False, timeout=30)
    return answer.status_code == 408


def wait_ready(url: str, timeout_s: float = _READY_S) -> dict[str, Any]:
    """Poll `<url>/healthz` until it answers ok and return that answer; ServiceError on timeout."""
    import httpx

    deadline = time.monotonic() + timeout_s
    last = "no answer"
    # A proxy named in the environment has no business with an endpoint of our own.
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.get(f"{url}/healthz")
                if answer.status_code == 200:
                    return dict(answer.json())
                last = f"HTTP {answer.status_code}: {answer.text[:200]}"
            except (httpx.HTTPError, ValueError) as error:
                last = str(error) or type(error).__name__
            time.sleep(0.2)
    raise ServiceError(f"{url} is not ready after {timeout_s:g} s ({last}).")


def _free_port(host: str, port: int) -> int:
    """The port to listen on; 0 picks one. ServiceError if it is taken, but not by our Serve."""
    if serve.status().proxies:
        if port == 0:
            raise ServiceError("Serve already runs on this cluster: name its port in serve.port.")
        return port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(
                f"Port {port} on {host} cannot be used ({error.strerror}). Stop what listens "
                "there, or "
                f"choose another: serve.port={port + 1} (serve.port=0 picks a free one)."
            ) from None
        return int(probe.getsockname()[1])
