"""Every mistake: one clear message, the right exit code, no traceback unless --debug."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import ablate, build, describe, evaluate, index, search, serve, train, tune
from jobs.common import first_cause
from pipelines.context import map_blocks
from reid.errors import ConfigError, StorageError
from reid.runs.run import Run
from tests.support.places import ROOT
from tests.support.tiny_configs import write_yaml
from tests.support.verbs import Call, Outcome, Verb

PRESET = ("--preset", "baseline/synthetic")


def message(outcome: Outcome, code: int) -> str:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("error: ") == 1
    assert "Traceback" not in outcome.err
    return outcome.err.removeprefix("error: ")


USAGE: dict[str, tuple[Verb, tuple[str, ...], tuple[str, ...]]] = {
    "unknown key": (train.train, (*PRESET, "train.epoch=3"), ("train.epoch:", "Did you mean 'epochs'?")),
    "wrong type": (train.train, (*PRESET, "train.epochs=many"), ("train.epochs:", "integer", "'many'")),
    "out of range": (build.build, (*PRESET, "build.rows_per_shard=0"), ("build.rows_per_shard:",)),
    "no equals sign": (train.train, (*PRESET, "train.epochs"), ("'train.epochs'", "section.field=value")),
    "unknown preset": (
        evaluate.evaluate,
        ("--preset", "baseline/syntetic"),
        ("'baseline/syntetic'", "Did you mean 'baseline/synthetic'?"),
    ),
    "unknown model": (train.train, (*PRESET, "model=baselin"), ("model.name:", "'baseline'")),
    "unknown reader": (build.build, (*PRESET, "data.reader=foldr"), ("data.reader.name:", "'folder'")),
    "unknown modality of the data": (
        build.build,
        (*PRESET, "data.modalities=rgb+xray"),
        ("modalities:", "'xray'", "tir"),
    ),
    "unknown modality of a subset": (
        evaluate.evaluate,
        (*PRESET, "evaluate.subsets=skecth"),
        ("evaluate.subsets", "skecth", "sketch"),
    ),
    "unknown generator": (
        build.build,
        (*PRESET, "build.generate.sketch.generator=sketch_mx"),
        ("build.generate.sketch.generator", "'sketch_mix'"),
    ),
    "no such file": (
        train.train,
        ("--config", "/none/x.yaml"),
        ("/none/x.yaml", "no such config file"),
    ),
    "both sources": (train.train, (*PRESET, "--config", "x.yaml"), ("exactly one of", "--preset")),
    "no source": (index.index, (), ("exactly one of --config", "--preset")),
    "nothing to search for": (search.search, PRESET, ("--rgb --nir --tir --sketch --cp --depth --text",)),
    "nothing to tune": (tune.tune, PRESET, ("tune.space", "empty")),
    "a space of an unknown field": (
        tune.tune,
        (*PRESET, "tune.space={train.optim.lrr: {uniform: [0.1, 0.2]}}"),
        ("train.optim.lrr", "'lr'"),
    ),
    "no ladder for the model": (
        ablate.ablate,
        PRESET,
        ("ablate.ladder:", "baseline has no ladder", "mfrnet", "YAML file"),
    ),
    "unknown row of a ladder": (
        ablate.ablate,
        ("--preset", "mfrnet/synthetic", "ablate.rows=[+FFN]"),
        ("ablate.rows:", "'+FFN'", "'+FFM'"),
    ),
    "unknown counts": (describe.describe, (*PRESET, "workdir=/nowhere"), ("--classes", "--cameras")),
}


@pytest.mark.parametrize("mistake", USAGE)
def test_wrong_usage_exits_2_and_names_the_remedy(call: Call, mistake: str) -> None:
    verb, arguments, words = USAGE[mistake]
    told = message(call(verb, *arguments), 2)
    for word in words:
        assert word in told


def test_an_unknown_option_exits_2(call: Call) -> None:
    outcome = call(train.train, "--prest", "baseline/synthetic")
    assert outcome.code == 2
    assert "--prest" in outcome.err
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(call: Call) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        call(train.train, *PRESET, "train.epoch=3", "--debug")


def test_the_process_itself_exits_with_the_code_and_the_message() -> None:
    arguments = [sys.executable, "-m", "jobs.describe", *PRESET, "modle=x"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("error: modle: unknown key. Did you mean 'model'?")


def test_a_missing_folder_exits_1_with_the_expected_layout(call: Call, tmp_path: Path) -> None:
    reader = "data.reader={name: folder, path: /nowhere/photos}"
    told = message(call(build.build, *PRESET, reader, f"workdir={tmp_path}"), 1)
    assert "/nowhere/photos" in told and "<path>/<identity>/<files>" in told
    assert list(tmp_path.iterdir()) == []


def test_an_empty_data_set_exits_1(call: Call, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    reader = f"data.reader={{name: folder, path: {tmp_path / 'in'}}}"
    told = message(call(build.build, *PRESET, reader, f"workdir={tmp_path / 'work'}"), 1)
    assert "no picture" in told
    nobody = ("data.reader.train_identities=0", "data.reader.test_identities=0")
    told = message(call(build.build, *PRESET, *nobody, f"workdir={tmp_path / 'work'}"), 1)
    assert "train_identities" in told
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("verb", [train.train, evaluate.evaluate, index.index, serve.serve])
def test_a_set_that_is_not_built_exits_1_and_says_how(call: Call, verb: Verb, tmp_path: Path) -> None:
    told = message(call(verb, "--config", write_yaml(tmp_path)), 1)
    assert "no shard set here" in told and "python -m jobs.build" in told


@pytest.mark.parametrize("verb", [evaluate.evaluate, index.index, serve.serve])
def test_a_run_that_is_not_trained_exits_1_and_says_how(
    call: Call, verb: Verb, tiny_run: Run, world: Path
) -> None:
    told = message(call(verb, "--config", str(world / "tiny.yaml"), "seed=77"), 1)
    assert "no finished run here" in told and "python -m jobs.train" in told and "run=" in told


def test_searching_without_a_gallery_exits_1_and_says_how(call: Call, tiny_run: Run, world: Path) -> None:
    given = ("--config", str(world / "tiny.yaml"), "--text", "a red coat")
    told = message(call(search.search, *given, f"index.gallery={world / 'none'}"), 1)
    assert str(world / "none") in told and "python -m jobs.index" in told


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"", "0 bytes"), (b"hello", "not an image")]
)
def test_an_unusable_picture_exits_1_and_is_named(
    call: Call, tiny_run: Run, world: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    picture = tmp_path / "query.jpg"
    if content is not None:
        picture.write_bytes(content)
    told = message(call(search.search, "--config", str(world / "tiny.yaml"), "--rgb", str(picture)), 1)
    assert str(picture) in told and words in told


def test_a_pairing_that_the_model_cannot_answer_exits_2(call: Call, tiny_run: Run, world: Path) -> None:
    given = ("--config", str(world / "tiny.yaml"), "--text", "a red coat", "--gallery", "nir")
    assert "index.subsets" in message(call(search.search, *given), 2)


def test_a_taken_port_exits_1_and_offers_another(call: Call, tiny_run: Run, world: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = message(call(serve.serve, "--config", str(world / "tiny.yaml"), f"serve.port={port}"), 1)
    assert str(port) in told and "serve.port=" in told


def unreachable(batch: pa.Table) -> pa.Table:
    raise StorageError("s3://bucket/x: cannot be accessed (timeout).")


def broken(batch: pa.Table) -> pa.Table:
    raise KeyError("column")


class Unable:
    def __init__(self) -> None:
        raise StorageError("/mnt/weights: no such file.")

    def __call__(self, batch: pa.Table) -> pa.Table:
        return batch


@pytest.mark.usefixtures("ray_session")
def cut_off(batch: pa.Table) -> pa.Table:
    """The system's error, explained by ours."""
    try:
        raise OSError("curlCode: 7")
    except OSError as error:
        raise StorageError("s3://b/x: cannot be accessed.") from error


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (unreachable, "s3://bucket/x: cannot be accessed (timeout)."),
        (broken, "KeyError: 'column'"),
        (Unable, "/mnt/weights: no such file."),
        (cut_off, "s3://b/x: cannot be accessed."),
    ],
)
def test_an_error_in_a_worker_is_told_by_its_first_cause(function: Any, told: str) -> None:
    import ray.data

    compute = ray.data.ActorPoolStrategy(size=1) if function is Unable else None
    dataset = map_blocks(
        ray.data.from_arrow(pa.table({"n": [1]})), function, batch_size=1, num_cpus=1, compute=compute
    )
    with pytest.raises(Exception) as caught:
        dataset.materialize()
    assert first_cause(caught.value) == told


def test_an_unforeseen_error_exits_1_with_its_kind_and_leaves_its_traceback(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.common._outputs", str(tmp_path))

    def verb(debug: bool = False) -> None:
        raise RuntimeError("zonk\nand more")

    told = message(call(verb), 1)
    (file,) = (tmp_path / "errors").glob("*-verb.txt")
    assert told == f"RuntimeError: zonk (traceback: {file})\n"
    assert file.read_text().startswith("Traceback") and "in verb" in file.read_text()


def test_ctrl_c_exits_130_and_says_that_it_may_be_resumed(call: Call) -> None:
    def verb() -> None:
        raise KeyboardInterrupt

    outcome = call(verb)
    assert outcome.code == 130
    assert "run the same command again" in outcome.err
