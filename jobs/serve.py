"""Answer searches over HTTP, with a page to try it in a browser.

Reads a run folder and its gallery. Writes to the gallery what requests with the token add and delete.
Serves until Ctrl-C or SIGTERM. Then it refuses new requests, answers those in flight, and ends with code 0:
that is how an endpoint stops. A second signal ends it at once. Stopped before it answers, it ends with 130
or 143 like any verb.

Example:

  python -m jobs.serve --preset baseline/synthetic serve.port=8000
"""

from __future__ import annotations

from jobs.common import (
    ConfigOption,
    DebugOption,
    OverridesArgument,
    PresetOption,
    load_config,
    run_uri_of,
    run_verb,
    start_ray,
    stop_serving,
)
from jobs.dry_run import DryRunOption, print_dry_run
from jobs.interrupts import stop_asked


def serve(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    debug: DebugOption = False,
) -> None:
    """Deploy the endpoint and serve until Ctrl-C or SIGTERM; requests in flight are still answered."""
    from pipelines.serve.app import run as deploy

    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(settings, config or preset, dry_run)
        return
    run = run_uri_of(settings)
    start_ray(settings.ray)
    url = deploy(settings, run_uri=run)  # Ctrl-C until here ends it as any verb
    asked = stop_asked()
    print(f"serving on {url}  (page: {url}/ , health: {url}/healthz); Ctrl-C stops it", flush=True)
    asked.wait()
    print("stopping once the requests in flight are answered; a second Ctrl-C drops them", flush=True)
    stop_serving()


if __name__ == "__main__":
    run_verb(serve)
