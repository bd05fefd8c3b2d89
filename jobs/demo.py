"""Run everything once on rendered data: build, train, evaluate, tune, index, serve.

Reads nothing; the pictures are rendered. Writes all that the single verbs write, to runs/. Takes some
minutes on a laptop without a GPU. In the end it asks the endpoint in four ways, each by twenty captures
drawn at random with the seed of the configuration, and prints how many were found, and the first answer.
--serve leaves the endpoint running with its page until Ctrl-C or SIGTERM, and then ends with code 0.

Example:

  python -m jobs.demo
  python -m jobs.demo --serve --port 8000
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jobs.common import DebugOption, OverridesArgument, run_verb, start_ray, stop_serving
from jobs.interrupts import stop_asked
from pipelines.progress import duration, say

if TYPE_CHECKING:
    from reid.config import Config

PRESET = "baseline/demo"
QUERIES = ("rgb", "text", "sketch", "nir+tir")
DRAWN = 20
"""Captures that ask in each way."""
T = TypeVar("T")


def demo(
    overrides: OverridesArgument = None,
    serve: Annotated[bool, typer.Option("--serve", help="Leave the endpoint running with its page.")] = False,
    port: Annotated[int, typer.Option(help="Port of the endpoint; 0 picks a free one.")] = -1,
    debug: DebugOption = False,
) -> None:
    """Run the main path end to end on rendered data and print a short summary."""
    from pipelines.dataset.build import build
    from pipelines.evaluation.evaluate import evaluate_run
    from pipelines.index import index_run
    from pipelines.placement.devices import device_beside_actors
    from pipelines.serve.app import run as deploy
    from pipelines.training.train import train_run
    from pipelines.tune import tune_runs
    from reid.config import load
    from reid.runs.run import load_run

    chosen = port if port >= 0 else (8000 if serve else 0)
    config = load(PRESET, [*(overrides or []), f"serve.port={chosen}"])
    started = time.monotonic()
    timed("ray", lambda: start_ray(config.ray))
    check_room(config)
    shards = timed("1 build", lambda: build(config)).shards
    trained = timed("2 train", lambda: train_run(config)).run
    run = load_run(trained.uri, device_beside_actors("demo", config))
    evaluated = timed("3 evaluate", lambda: evaluate_run(config, run))
    tuned = timed("4 tune", lambda: tune_runs(config))
    gallery = timed("5 index", lambda: index_run(config, run)).gallery
    url = timed("6 serve", lambda: deploy(config, run_uri=run.uri, gallery_uri=gallery.uri))
    try:
        answers = timed("7 query", lambda: ask(config, url, shards))
        for line in summary(evaluated, tuned, answers, time.monotonic() - started):
            print(line)
        if serve:
            asked = stop_asked()
            print(f"\nserving on {url}  (open it in a browser); Ctrl-C stops it", flush=True)
            asked.wait()
    finally:
        stop_serving()


def check_room(config: Config) -> None:
    """Raise ConfigError before the first step for what a later one can never have on this cluster."""
    from pipelines.dataset.stages import build_requests
    from pipelines.embed import embed_requests
    from pipelines.placement.gpus import gpus_each
    from pipelines.placement.resources import check
    from pipelines.serve.app import serve_requests
    from pipelines.training.requests import train_requests
    from pipelines.tune import tune_requests

    embed = embed_requests(config.evaluate.actors, gpus_each("embed", config))
    steps = [*build_requests(config), *train_requests(config, gpus_each("train", config))]
    steps += [*embed, *tune_requests(config, gpus_each("tune", config))]
    check(steps, together=False)
    check(serve_requests(config.serve, gpus_each("serve", config)))


def timed(name: str, step: Callable[[], T]) -> T:
    """Run a step and say how long it took."""
    say(f"== {name}")
    began = time.monotonic()
    result = step()
    say(f"== {name}: done in {duration(time.monotonic() - began)}")
    return result


def ask(config: Config, url: str, shards: Any) -> list[list[dict[str, Any]]]:
    """DRAWN searches over HTTP by each subset of QUERIES, with test captures drawn at random by the seed."""
    import random

    import httpx

    from reid.data.batches.sample_rows import sample_part
    from reid.modality import parse_subset, subset_name

    samples = [s for group in shards.groups("test") for s in shards.read_group(group)]
    draw, answers = random.Random(config.seed), []

    def search(client: httpx.Client, subset: Sequence[Any], sample: Any) -> dict[str, Any]:
        files, fields = {}, {"top_k": "6"}
        for modality in subset:
            content = sample_part(sample, modality).content
            if isinstance(content, bytes):
                files[modality.value] = (f"{modality.value}.png", content)
            else:
                fields[modality.value] = content
        answer = client.post(f"{url}/v1/search", data=fields, files=files or None)
        answer.raise_for_status()
        tree = answer.json()
        hits = [h for h in tree["hits"] if h["id"] != sample.labels.sample_id][:5]
        right = [h["pid"] == sample.labels.pid for h in hits]
        return {"subset": subset_name(subset), "sample": sample, "right": right, "ms": tree["took_ms"]}

    with httpx.Client(trust_env=False, timeout=60) as client:
        for subset in map(parse_subset, QUERIES):
            those = [s for s in samples if set(subset) <= set(s.modalities)]
            drawn = draw.sample(those, min(DRAWN, len(those)))
            answers.append([search(client, subset, sample) for sample in drawn])
    return answers


def summary(evaluated: Any, tuned: Any, answers: list[list[dict[str, Any]]], seconds: float) -> list[str]:
    """What a person wants to know, in a screenful."""
    gallery = evaluated.evaluation.results[0].gallery
    title, chance = f"query -> {gallery} gallery", _chance(evaluated)
    lines = ["", f"{title:<30}{'mAP':>6}{'R1':>7}{'x chance':>10}   (chance mAP {chance:.3f})"]
    for row in (*evaluated.evaluation.results, *evaluated.evaluation.baselines):
        name = row.name or row.query
        times = row.metrics.mAP / chance if chance > 0 else 0.0
        lines.append(f"{name:<30}{row.metrics.mAP:6.3f}{row.metrics.cmc_at(1):7.3f}{times:10.1f}")
    best = tuned.trials[0]
    drawn = ", ".join(f"{k}={v:.3g}" for k, v in best["params"].items())
    lines += [
        "",
        f"best of {len(tuned.trials)} short trials: {tuned.metric} {best['score']:.3f} with {drawn}",
        "",
    ]
    for found in answers:
        first, count = found[0], len(found)
        sample = first["sample"]
        best_right = sum(answer["right"][:1] == [True] for answer in found)
        any_right = sum(any(answer["right"]) for answer in found)
        typical = sorted(answer["ms"] for answer in found)[count // 2]
        lines.append(
            f"{count} queries by {first['subset']} ({typical:.0f} ms): first hit right for {best_right}, "
            f"one of five for {any_right}"
        )
        marks = " ".join("right" if right else "wrong" for right in first["right"])
        lines.append(f"    identity {sample.labels.pid}, camera {sample.labels.camid}: {marks}")
        if sample.captions and "text" in first["subset"]:
            lines.append(f'    "{sample.captions[0].text}"')
    lines.append(
        "(captures drawn at random with the seed of the configuration, the first of each kind is shown;\n"
        "their own are left out of the hits)"
    )
    return [*lines, "", f"report: {evaluated.files['report.html']}", f"all in {duration(seconds)}"]


def _chance(evaluated: Any) -> float:
    return float(evaluated.evaluation.results[0].metrics.chance_mAP)


if __name__ == "__main__":
    run_verb(demo)
