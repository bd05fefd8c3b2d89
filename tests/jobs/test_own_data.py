"""README's recipe for own data, taken out of README.md: it works whatever cameras the pictures have."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs import build, evaluate, index, search, train, tune
from reid.config import load
from reid.doctor.data.examination import Extent, examine_config
from tests.support.places import ROOT
from tests.support.verbs import Call, Outcome, Verb

README = (ROOT / "README.md").read_text(encoding="utf-8")
YAML = re.search(r"```yaml\n(# mine\.yaml.*?)```", README, re.DOTALL)
SMALL = (
    "train.epochs=1",
    "train.steps_per_epoch=2",
    "train.batch.identities=4",
    "train.batch.instances=2",
    "evaluate.queries_shown=2",
)
HERE = ("train.workers=0", "evaluate.actors=0", *SMALL)
NOTES = {0: "no camera is known: ", 1: "one camera: ", 2: None}


def picture(path: Path, identity: int, number: int, modality: int) -> None:
    """An identity's own blocks of colour under the noise of a capture."""
    own = np.random.default_rng([identity, modality]).integers(20, 236, (4, 2, 3))
    noise = np.random.default_rng([identity, number, modality]).normal(0, 20, (64, 32, 3))
    pixels = (np.kron(own, np.ones((16, 16, 1))) + noise).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


def draw(root: Path, cameras: int, train: int = 8, test: int = 4, captures: int = 4) -> Path:
    """A folder as README shows it, RGB and NIR, with its mine.yaml beside it."""
    for split, start, count in (("train", 1, train), ("test", 101, test)):
        for pid in range(start, start + count):
            for number in range(captures):
                camera = f"cam{number % cameras + 1}_" if cameras else ""
                for place, modality in enumerate(("rgb", "nir")):
                    name = root / "mine" / split / f"{pid:04d}" / modality / f"{camera}{number}.jpg"
                    picture(name, pid, number, place)
    assert YAML is not None, "README.md shows no mine.yaml"
    path = root / "mine.yaml"
    path.write_text(YAML[1].replace("/data/mine", str(root / "mine")) + f"workdir: {root}/runs\n")
    return path


def ok(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def test_pictures_of_one_camera_train_evaluate_index_and_answer(
    call: Call, ray_session: None, tmp_path: Path
) -> None:
    given = ("--config", str(draw(tmp_path, 1)), *HERE)
    ok(call(build.build, *given))
    checks = json.loads(ok(call(train.train, *given, "--dry-run", "--json")).out)["checks"]
    assert checks[-1].startswith("validation: one camera: train.val.protocol=auto is the protocol roles")
    told = ok(call(train.train, *given)).err
    assert all(f"train: {line}" in told for line in checks)
    measured = ok(call(evaluate.evaluate, *given, "evaluate.subsets=[rgb, nir]"))
    assert "evaluate: one camera: evaluate.protocol=auto is the protocol roles" in measured.err
    (report,) = (tmp_path / "runs").glob("train/mine/*/evaluate/roles-test-*/report.json")
    tree = json.loads(report.read_text())
    assert "one camera: " in tree["protocol"]["summary"]
    assert "one camera: " in report.with_name("report.html").read_text()
    assert all(row["mAP"] is not None and row["skipped"] == 0 for row in tree["results"])
    ok(call(index.index, *given))
    photo = next((tmp_path / "mine/test/0101/rgb").iterdir())
    asked = (*given, "--rgb", str(photo), "--text", "a red jacket", "--json")
    hits = json.loads(ok(call(search.search, *asked)).out)["hits"]
    assert len(hits) == 5 and hits[0]["camid"] == 1


REFUSED: dict[str, tuple[Verb, str, tuple[str, ...]]] = {
    "validation": (
        train.train,
        "train.val.protocol=cross_camera",
        ("train.val.protocol: under cross_camera", "no identity was seen by two", "train.val.protocol=auto"),
    ),
    "a search's validation": (
        tune.tune,
        "train.val.protocol=cross_camera",
        ("train.val.protocol: under cross_camera",),
    ),
    "too few to hold out": (
        train.train,
        "train.val.fraction=0.9",
        ("train.val.fraction: 8 training identities are too few to hold out 7",),
    ),
}


@pytest.fixture(scope="module")
def one_camera(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built set of one camera."""
    from pipelines.dataset.build import build as build_set

    config = draw(tmp_path_factory.mktemp("one"), 1)
    build_set(load(str(config)), out=lambda line: None)
    return config


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_one_camera_cannot_bear_is_told_before_any_work(
    call: Call, one_camera: Path, monkeypatch: pytest.MonkeyPatch, name: str, dry: tuple[str, ...]
) -> None:
    verb, wrong, words = REFUSED[name]
    for module in (train, tune):
        monkeypatch.setattr(module, "start_ray", lambda _: pytest.fail("Ray was started"))
    space = "tune.space={train.optim.lr: {uniform: [0.001, 0.01]}}"
    outcome = call(verb, "--config", str(one_camera), *SMALL, wrong, space, *dry)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    for word in words:
        assert word in outcome.err


def test_an_evaluation_that_one_camera_cannot_bear_is_told_by_its_dry_run(
    call: Call, one_camera: Path
) -> None:
    given = ("--config", str(one_camera), "evaluate.protocol=cross_camera", "--dry-run")
    outcome = call(evaluate.evaluate, *given)
    assert outcome.code == 2
    assert (
        "evaluate.protocol: under cross_camera no query of the test split has a right answer" in outcome.err
    )
    assert "evaluate.protocol=auto" in outcome.err and "data.reader.camera_pattern" in outcome.err


def test_the_doctor_asks_the_same(one_camera: Path) -> None:
    def told(*overrides: str) -> dict[str, Any]:
        report = examine_config(load(str(one_camera), overrides), "build", Extent(sample=4))
        return {f.code: f for f in report.findings}

    healthy = told()
    assert healthy["protocol-by-labels"].level == "info"
    assert "one camera: " in healthy["protocol-by-labels"].text
    assert not any(f.level == "error" for f in healthy.values())
    refused = told("evaluate.protocol=cross_camera", "train.val.protocol=cross_camera")
    for code, field in (("evaluation-refused", "evaluate"), ("validation-refused", "train.val")):
        assert refused[code].level == "error"
        assert f"{field}.protocol: under cross_camera" in refused[code].text
        assert f"{field}.protocol=auto" in refused[code].remedy


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cameras", NOTES)
def test_the_whole_recipe_to_the_letter(cameras: int, tmp_path: Path) -> None:
    """Each verb in a process of its own, with Ray's workers; then one question over HTTP."""
    config = draw(tmp_path, cameras, train=12)
    given = ("--config", str(config), *SMALL)
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_USAGE_STATS_ENABLED": "0"}

    def verb(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{name}", *given, *more],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    verb("build")
    trained, measured = verb("train"), verb("evaluate")
    note = NOTES[cameras]
    for done, protocol in ((trained, "train.val.protocol"), (measured, "evaluate.protocol")):
        assert (f"{note}{protocol}=auto" in done.stderr) if note else "=auto" not in done.stderr
    assert f"protocol {'roles' if note else 'cross_camera'}: not counted" in measured.stdout
    verb("index")
    photo = next((tmp_path / "mine/test/0101/rgb").iterdir())
    assert len(json.loads(verb("search", "--rgb", str(photo), "--json").stdout)["hits"]) == 5
    first = asked_over_http(given, photo, env)["hits"][0]
    assert first["pid"] == 101  # the photo's own identity, of the test split


def asked_over_http(given: tuple[str, ...], photo: Path, env: dict[str, str]) -> dict[str, Any]:
    """What `curl -F rgb=@photo.jpg …/v1/search` gets from `jobs.serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jobs.serve", *given, f"serve.port={port}"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("serving on "), line
            bound = "own-data-test"
            head = f'--{bound}\r\nContent-Disposition: form-data; name="rgb"; filename="a.jpg"\r\n\r\n'
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/search",
                data=head.encode() + photo.read_bytes() + f"\r\n--{bound}--\r\n".encode(),
                headers={"Content-Type": f"multipart/form-data; boundary={bound}"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, Any] = json.loads(answer.read())
            return found
        finally:
            server.send_signal(signal.SIGINT)
            ended = time.monotonic() + 60
            while server.poll() is None and time.monotonic() < ended:
                time.sleep(0.2)
            server.kill()
