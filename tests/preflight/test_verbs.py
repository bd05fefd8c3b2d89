"""One function for every verb: an ablation names its row, a set that is not built is a line or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reid.errors import ConfigError, DataError, TrainingError
from reid.preflight import VERBS, ListedData, Verb, preflight
from tests.support.sets.labelled_rows import listed, rows
from tests.support.tiny_configs import config_of

WHOLE = listed(rows(range(8)), rows(range(8, 12), split="test"))
LR = "tune.space={train.optim.lr: {loguniform: [1e-4, 1e-2]}}"


def ladder(folder: Path, **fields: object) -> str:
    file = folder / "ladder.yaml"
    file.write_text(yaml.safe_dump([{"name": "as it is"}, {"name": "changed", "set": fields}]))
    return f"ablate.ladder={file}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_configuration_that_works_is_told_nothing_of_weight(verb: Verb, tmp_path: Path) -> None:
    given = (LR, "train.val.fraction=0.25", ladder(tmp_path, **{"train.optim.lr": 0.1}))
    told = preflight(config_of("/w", *given), verb, WHOLE)
    assert [line for line in told if not line.startswith("validation: on 2")] == []


@pytest.mark.parametrize("verb", set(VERBS) - {"build"})
def test_a_set_that_is_not_built_is_an_error_or_a_line(verb: Verb, tmp_path: Path) -> None:
    config = config_of(tmp_path, LR, ladder(tmp_path))
    (told,) = preflight(config, verb, unbuilt=True)
    assert told.startswith(f"not checked: no shard set at {tmp_path}/shards/tiny/")
    with pytest.raises(DataError, match=r"no shard set here.*jobs\.build"):
        preflight(config, verb)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_generator_is_told_even_so(verb: Verb, tmp_path: Path) -> None:
    config = config_of(tmp_path, LR, ladder(tmp_path), "build.generate.sketch={generator: sketch_doge}")
    with pytest.raises(ConfigError, match=r"build\.generate\.sketch\.generator.*'sketch_dodge'"):
        preflight(config, verb, unbuilt=True)


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"train.batch.identities": 9}, TrainingError, "train.batch.identities: a batch needs 9"),
        ({"model.fusion": "concat"}, ConfigError, "model.fusion: concat"),
        ({"evaluate.split": "val"}, DataError, "evaluate.split"),
        ({"build.generate.sketch.params": {"sigma": 3.0}}, DataError, "no shard set here"),
        ({"train.optim.lrr": 1}, ConfigError, "lrr"),
    ],
)
def test_a_row_that_cannot_work_is_named(
    fields: dict[str, object], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, ladder(tmp_path, **fields))
    with pytest.raises(kind, match=r"^row 'changed': ") as caught:
        preflight(config, "ablate", WHOLE)
    assert words in str(caught.value)


def test_what_a_build_will_generate_counts_as_there() -> None:
    raw = [*rows(range(8), modalities="rgb+nir+tir+text"), *rows(range(8, 12), 4, "rgb", "test")]
    config = config_of("/w")
    with pytest.raises(ConfigError, match="has sketch"):
        preflight(config, "train", listed(raw))
    planned = ListedData.planned("a folder", raw, config)
    assert preflight(config, "train", planned) == []
    assert {m.value for m in planned.modalities("test")} == {"rgb", "sketch"}


def test_an_ablation_is_checked_with_every_seed_of_its_own(tmp_path: Path) -> None:
    """The seed chooses who is held out: four identities have one capture, and two of them have no match."""
    data = listed(rows(range(4)), rows(range(4, 8), 1), rows(range(8, 12), split="test"))
    given = ("train.val.fraction=0.25", ladder(tmp_path))

    def refused(verb: Verb, *fields: str) -> bool:
        try:
            preflight(config_of(tmp_path, *given, *fields), verb, data)
        except ConfigError:
            return True
        return False

    outcomes = {seed: refused("train", f"seed={seed}") for seed in range(12)}
    good, bad = (next(s for s, answer in outcomes.items() if answer is wanted) for wanted in (False, True))
    assert not refused("ablate", f"seed={bad}", f"ablate.seeds=[{good}]")
    assert refused("ablate", f"seed={good}", f"ablate.seeds=[{good}, {bad}]")
