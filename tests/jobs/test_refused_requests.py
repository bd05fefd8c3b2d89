"""A key that is revoked or a clock that goes wrong in mid-verb: one error, nothing is lost, it goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.s3_server.server import S3Server
from tests.support.tiny_configs import write_yaml
from tests.support.verb_runs import Ended, run_verb_apart

pytestmark = [pytest.mark.slow, pytest.mark.outage, pytest.mark.timeout(1800)]
MANY = ("data.reader.train_identities=24", "data.reader.test_identities=24")
TRAIN = ("train.epochs=4", "train.steps_per_epoch=40", "train.batch.identities=4")
EMBED = ("evaluate.actors=1", "evaluate.batch_size=1")
PATIENCE = {"ANYREID_STORAGE_RETRY_S": "120"}
"""Of the verb, for the moment in which the server starts again; a refusal does not use it."""


class Verbs:
    """Runs verbs in a bucket whose server may come to refuse them."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server, self._yaml = server, write_yaml(folder, "s3://bucket/work")

    def run(self, verb: str, *overrides: str) -> Ended:
        ended = run_verb_apart(verb, self._yaml, *MANY, *overrides)
        assert ended.code == 0, ended.err
        return ended

    def stopped(
        self, verb: str, *overrides: str, until: str, secret: str | None = None, ahead_s: float = 0.0
    ) -> Ended:
        """The verb, which ends by an error; afterwards the server is again as it was.

        Args:
            verb: its name.
            overrides: fields of the configuration.
            until: words of a line, after which the server starts again, and refuses what comes.
            secret: what belongs to the key then, instead of what the verb has.
            ahead_s: how far the server's clock is ahead then.
        """
        good = self.server.aws["AWS_SECRET_ACCESS_KEY"]

        def refuse(process: subprocess.Popen[str]) -> None:
            self.server.stop()
            self.server.accept(secret or good)
            self.server.start(ahead_s)

        given = (*MANY, *overrides)
        ended = run_verb_apart(verb, self._yaml, *given, until=until, then=refuse, environment=PATIENCE)
        self.server.stop()
        self.server.accept(good)
        self.server.start()
        assert ended.code == 1, ended.err
        assert "s3://bucket/work/" in ended.error
        assert "starting again" not in ended.err
        return ended

    def revoked(self, verb: str, *overrides: str, until: str) -> Ended:
        """The verb, whose key is refused after its line with the words `until`."""
        ended = self.stopped(verb, *overrides, until=until, secret="another")
        assert "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in ended.error
        return ended


@pytest.fixture
def verbs(own_server: S3Server, tmp_path: Path) -> Verbs:
    return Verbs(own_server, tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_train_goes_on_from_its_last_checkpoint_when_the_key_is_good_again(
    workers: int, verbs: Verbs
) -> None:
    verbs.run("build")
    given = (f"train.workers={workers}", *TRAIN)
    stopped = verbs.revoked("train", *given, until="epoch 1/4, step 40")
    assert "epoch 4/4" not in stopped.err
    resumed = verbs.run("train", *given)
    assert "resuming from" in resumed.err
    assert "epoch 1/4, step 40" not in resumed.err


def test_build_keeps_its_finished_shards(verbs: Verbs) -> None:
    verbs.revoked("build", "ray.num_cpus=1", until=" rows (")
    assert ", 0 reused" not in verbs.run("build").out


def test_index_and_evaluate_go_on(verbs: Verbs) -> None:
    verbs.run("build")
    verbs.run("train")
    verbs.revoked("index", *EMBED, until=" vectors (")
    indexed = verbs.run("index", *EMBED)
    assert "vectors are stored already" in indexed.err and "96 items added" in indexed.out
    verbs.revoked("evaluate", *EMBED, until=" vectors (")
    evaluated = verbs.run("evaluate", *EMBED)
    assert "vectors are stored already" in evaluated.err and "mAP" in evaluated.out


def test_a_clock_that_goes_wrong_is_told_where_the_store_refuses_it(verbs: Verbs) -> None:
    verbs.run("build")
    verbs.run("train")
    stopped = verbs.stopped("index", *EMBED, until=" vectors (", ahead_s=3600)
    assert "differs from the store's by 60 minutes" in stopped.error and "NTP" in stopped.error
    assert "96 items added" in verbs.run("index", *EMBED).out
