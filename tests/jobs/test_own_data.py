"""README's path for own data, taken out of README.md: it works whatever cameras the pictures have."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import build, doctor, evaluate, index, search, train, tune
from reid.config import load
from reid.doctor.configuration.proposal import propose
from reid.doctor.data.examination import Extent, examine_config
from tests.support.places import ROOT
from tests.support.sets.own_folders import described, identities, one_split, splits_and_modalities
from tests.support.verbs import Call, Outcome, Verb

SECTION = (ROOT / "README.md").read_text("utf-8").partition("## Bring your own data")[2].partition("\n## ")[0]
STEPS = [
    line.split("#")[0].split() for line in SECTION.splitlines() if "mine.yaml" in line and "python" in line
]
"""The commands of README's path, in order."""
MORE = re.search(r"```yaml\n(# more\.yaml.*?)```", SECTION, re.DOTALL)
SMALL = (
    "device=cpu",
    "train.epochs=1",
    "train.steps_per_epoch=2",
    "train.batch.identities=4",
    "train.batch.instances=2",
    "evaluate.queries_shown=2",
)
NOTES = {0: "no camera is known: ", 1: "one camera: ", 2: None}


def own(root: Path, cameras: int, train: int = 8) -> Path:
    """A folder as README shows it, RGB and NIR."""
    return splits_and_modalities(root / "mine", cameras, train)


def written(call: Call, folder: Path) -> Path:
    """The configuration that README's first command writes for a folder."""
    file = folder.parent / "mine.yaml"
    asked = ("data", str(folder), f"workdir={folder.parent}/runs", "--write", str(file))
    outcome = call(doctor.doctor, *asked)
    assert outcome.code == 0, outcome.out + outcome.err
    return file


def ok(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def test_readme_shows_the_commands_that_doctor_prints(call: Call, tmp_path: Path) -> None:
    folder = own(tmp_path, 1)
    file = str(tmp_path / "mine.yaml")
    told = json.loads(ok(call(doctor.doctor, "data", str(folder), "--write", file, "--json")).out)
    printed = [shlex.split(command) for command in told["commands"]]
    assert [words[2] for words in printed] == [words[2] for words in STEPS[1:]]
    assert all(words[:2] == ["python", "-m"] and words[3:5] == ["--config", file] for words in printed)
    assert STEPS[0] == ["python", "-m", "jobs.doctor", "data", "/data/mine", "--write", "mine.yaml"]
    assert told["written"] == file


def test_pictures_of_one_camera_train_evaluate_index_and_answer(
    call: Call, ray_session: None, tmp_path: Path
) -> None:
    folder = own(tmp_path, 1)
    given = ("--config", str(written(call, folder)), *SMALL)
    ok(call(build.build, *given))
    checks = json.loads(ok(call(train.train, *given, "--dry-run", "--json")).out)["checks"]
    assert any(line.startswith("validation: one camera: train.val.protocol=auto is") for line in checks)
    told = ok(call(train.train, *given)).err
    assert all(f"train: {line}" in told for line in checks)
    measured = ok(call(evaluate.evaluate, *given))
    assert "evaluate: one camera: evaluate.protocol=auto is the protocol roles" in measured.err
    (report,) = (tmp_path / "runs").glob("train/mine/*/evaluate/roles-test-*/report.json")
    tree = json.loads(report.read_text())
    assert "one camera: " in tree["protocol"]["summary"]
    assert "one camera: " in report.with_name("report.html").read_text()
    assert all(row["mAP"] is not None and row["skipped"] == 0 for row in tree["results"])
    ok(call(index.index, *given))
    photo = next((folder / "test/0101/rgb").iterdir())
    hits = json.loads(ok(call(search.search, *given, "--rgb", str(photo), "--json")).out)["hits"]
    assert len(hits) == 5 and hits[0]["camid"] == 1


def test_what_the_build_makes_from_rgb_is_added_by_a_file_that_extends(call: Call, tmp_path: Path) -> None:
    folder = own(tmp_path, 0)
    written(call, folder)
    assert MORE is not None, "README.md shows no more.yaml"
    more = tmp_path / "more.yaml"
    more.write_text(MORE[1])
    outcome = ok(call(doctor.doctor, "--config", str(more), "--json"))
    told = json.loads(outcome.out)
    assert told["ok"] and [m.value for m in load(str(more)).data.modalities] == ["rgb", "nir", "sketch"]


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

    folder = tmp_path_factory.mktemp("one")
    proposal = propose(str(own(folder, 1)), "mine.yaml", given=[f"workdir={folder}/runs"])
    config = folder / "mine.yaml"
    config.write_text(str(proposal.text))
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
def test_the_whole_path_to_the_letter(cameras: int, tmp_path: Path) -> None:
    """Each command of README in a process of its own; then one question over HTTP."""
    folder = own(tmp_path, cameras, train=12)
    photo = next((folder / "test/0101/rgb").iterdir())
    names = {"/data/mine": str(folder), "mine.yaml": str(tmp_path / "mine.yaml"), "photo.jpg": str(photo)}
    steps = [[names.get(word, word) for word in step[1:]] for step in STEPS[:-1]]
    steps[0].append(f"workdir={tmp_path}/runs")
    told = {step[1]: run(step) for step in steps}
    note = NOTES[cameras]
    for verb, field in (("jobs.train", "train.val.protocol"), ("jobs.evaluate", "evaluate.protocol")):
        told_of = told[verb].stderr
        assert (f"{note}{field}=auto" in told_of) if note else "evaluate.protocol=auto" not in told_of
    measured = told["jobs.evaluate"].stdout
    assert f"protocol {'roles' if note else 'cross_camera'}: not counted" in measured
    assert "  1. 1.000 " in told["jobs.search"].stdout and "test/0101" in told["jobs.search"].stdout
    first = asked_over_http(("--config", names["mine.yaml"]), photo)["hits"][0]
    assert first["pid"] == 101  # the photo's own identity, of the test split


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "without cameras": identities,
    "one split": one_split,
    "photos and sentences": described,
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*FOLDERS, "grocery", "tno"])
def test_the_printed_commands_to_the_letter(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Up to a search; an identity's own picture or sentence finds it."""
    if name in FOLDERS:
        folder = FOLDERS[name](tmp_path / "mine")
    else:
        folder = Path(request.getfixturevalue("data_root")) / name
    file = str(tmp_path / "mine.yaml")
    asked = ["-m", "jobs.doctor", "data", str(folder), f"workdir={tmp_path}/runs", "--write", file, "--json"]
    commands = [shlex.split(c)[1:] for c in json.loads(run(asked).stdout)["commands"]]
    assert commands[-1][1] == "jobs.serve"
    for command in commands[:-1]:
        done = run([*command, "--json"])
        if command[1] == "jobs.search":
            assert json.loads(done.stdout)["hits"]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command of Python that must end well."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def environment() -> dict[str, str]:
    """This process's, without a Ray to join."""
    return {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_USAGE_STATS_ENABLED": "0"}


def asked_over_http(given: tuple[str, ...], photo: Path) -> dict[str, Any]:
    """What `curl -F rgb=@photo.jpg …/v1/search` gets from `jobs.serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jobs.serve", *given, f"serve.port={port}"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as server:
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
