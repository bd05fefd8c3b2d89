"""The stages that make what is missing: provenance, order, batches, and rows that cannot be served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid.dataset.stages.generation
from reid.config.sections.captions import CaptionPolicy
from reid.data.images import decode_rgb
from reid.data.shards.schema import Caption, Image
from reid.dataset.rows import BuildRow, StageTimes
from reid.dataset.stages.generation import Generation, cpu_only
from reid.errors import ConfigError
from reid.modality import Modality, Target
from tests.support.sets.builds import BATCHES, LOADED, made_up, recipe_of, row

RGB, NIR, TIR, SKETCH = Modality.RGB, Modality.NIR, Modality.TIR, Modality.SKETCH
CUT: dict[str, Any] = {"generator": "cut_sketch"}
NET: dict[str, Any] = {"generator": "net_mask", "batch_size": 3}
GREY: dict[str, Any] = {"generator": "ir_gray"}


@pytest.fixture(autouse=True)
def _generators() -> Iterator[None]:
    with made_up():
        yield


def run(
    tmp_path: Path, rows: Sequence[BuildRow], generate: dict[str, Any], **policy: Any
) -> tuple[list[BuildRow], StageTimes]:
    recipe, clock = recipe_of(tmp_path, generate), StageTimes()
    done = list(rows)
    for group in recipe.groups():
        done = Generation(group, 0, CaptionPolicy(**policy), cpu_only)(done, clock)
    return done, clock


def test_what_is_made_says_by_what_and_from_which_sample(tmp_path: Path) -> None:
    (done,), _ = run(tmp_path, [row(1)], {"mask": NET, "sketch": CUT, "text": {"generator": "net_text"}})
    sample = done.sample
    sketch, mask, caption = sample.images[SKETCH], sample.mask, sample.captions[0]
    assert mask is not None and done.error is None
    for made, name in ((sketch, "cut_sketch"), (mask, "net_mask"), (caption, "net_text")):
        assert (made.origin, made.generator, made.source_id) == ("generated", name, "s1")
        assert made.params_hash
    assert (mask.score, caption.confidence, sketch.width) == (0.5, 0.25, 16)
    pixels = decode_rgb(sample.images[RGB].image, "rgb")
    assert np.array_equal(decode_rgb(sketch.image, "cut"), pixels * (pixels[..., :1] > 100)), (
        "cut by the mask"
    )


def test_captured_ones_are_kept_unless_they_shall_be_replaced(tmp_path: Path) -> None:
    given = row(1, RGB, NIR, mask=True)
    (kept,), _ = run(tmp_path, [given], {"nir": GREY, "mask": NET})
    assert kept.sample == given.sample and LOADED == ["net_mask"] and BATCHES == []
    (over,), _ = run(tmp_path, [given], {"nir": {**GREY, "missing_only": False}})
    assert over.sample.images[NIR].generator == "ir_gray"


def test_a_made_caption_is_put_beside_the_captured(tmp_path: Path) -> None:
    given = row(1)
    given = replace(given, sample=replace(given.sample, captions=(Caption("mine"),)))
    generate = {"text": {"generator": "net_text", "missing_only": False}}
    (done,), _ = run(tmp_path, [given], generate)
    assert [c.origin for c in done.sample.captions] == ["captured", "generated"]


def test_a_row_without_what_is_read_goes_on_without_the_product(tmp_path: Path) -> None:
    (done,), _ = run(tmp_path, [row(1, NIR)], {"sketch": {"generator": "sketch_dog"}})
    assert done.error is None and done.sample.modalities == (NIR,)


def test_of_several_modalities_the_captured_are_looked_at(tmp_path: Path) -> None:
    seen: list[list[Modality]] = []
    with pytest.MonkeyPatch.context() as patch:
        source = reid.dataset.stages.generation.GeneratorInput

        def note(**values: Any) -> Any:
            seen.append(list(values["images"]))
            return source(**values)

        patch.setattr(reid.dataset.stages.generation, "GeneratorInput", note)
        run(tmp_path, [row(1, RGB, TIR)], {"nir": GREY, "mask": NET})
    assert seen == [[RGB], [RGB, TIR]], "the generated NIR is no witness of the mask"


def test_a_row_without_the_mask_that_is_needed_is_set_aside(tmp_path: Path) -> None:
    (without, with_it), _ = run(tmp_path, [row(1), row(2, mask=True)], {"sketch": CUT})
    assert without.stage == "sketch" and "s1: cut_sketch needs a mask" in str(without.error)
    assert with_it.error is None and SKETCH in with_it.sample.images


def test_a_mask_of_another_size_sets_the_row_aside(tmp_path: Path) -> None:
    bad = replace(row(1, side=16), sample=replace(row(1).sample, mask=row(1, mask=True, side=8).sample.mask))
    (done,), _ = run(tmp_path, [bad], {"sketch": CUT})
    assert done.stage == "sketch" and "mask" in str(done.error)


def test_one_refused_row_leaves_the_others_of_its_batch_alone(tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, 6)]
    plain, _ = run(tmp_path, rows, {"text": {"generator": "net_text"}})
    text = {"generator": "net_text", "params": {"fails": "s3"}}
    bad, _ = run(tmp_path, rows, {"text": text})
    assert [r.stage for r in bad] == [None, None, "text", None, None]
    assert bad[2].error == "net_text: no words"
    again, _ = run(tmp_path, [rows[0]], {"text": text})
    assert bad[0] == again[0], "as when nobody else failed: the random state is the row's own"
    assert plain[0].sample.captions[0].text.startswith("seen s1")


def test_a_value_that_says_no_sets_its_row_aside(tmp_path: Path) -> None:
    refusing = {**CUT, "params": {"refuse": True}}
    (done,), _ = run(tmp_path, [row(1, mask=True)], {"sketch": refusing})
    assert (done.stage, done.error) == ("sketch", "cut_sketch: refused")


def test_a_stored_picture_that_cannot_be_decoded_sets_its_row_aside(tmp_path: Path) -> None:
    bad = row(1)
    bad = replace(bad, sample=replace(bad.sample, images={RGB: Image(b"no picture", 4, 4)}))
    (done, good), _ = run(tmp_path, [bad, row(2)], {"sketch": {"generator": "sketch_dog"}})
    assert done.stage == "sketch" and "not an image" in str(done.error) and good.error is None


def test_a_row_that_was_set_aside_is_not_touched_again(tmp_path: Path) -> None:
    aside = row(1).refused("read", "why")
    assert run(tmp_path, [aside], {"mask": NET, "sketch": CUT})[0] == [aside]


def test_a_network_loads_once_and_gets_batches_of_its_size(tmp_path: Path) -> None:
    rows = [row(n) for n in range(8)]
    run(tmp_path, rows, {"mask": NET})
    assert LOADED == ["net_mask"] and BATCHES == [3, 3, 2]


def test_large_pictures_make_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reid.dataset.stages.generation, "_PIXELS", 16 * 16 * 2)
    run(tmp_path, [row(n) for n in range(5)], {"mask": NET})
    assert BATCHES == [2, 2, 1]


def test_a_picture_is_decoded_once_for_all_functions_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def note(data: bytes, source: str, **how: Any) -> Any:
        decoded.append(source)
        return decode_rgb(data, source, **how)

    monkeypatch.setattr(reid.dataset.stages.generation, "decode_rgb", note)
    given = {"sketch": {"generator": "sketch_dog"}, "nir": GREY, "tir": {"generator": "flat_tir"}}
    (done, _), clock = run(tmp_path, [row(1), row(2)], given)
    assert decoded == ["s1", "s2"], "the NIR that TIR is made of was never decoded"
    assert done.sample.modalities == (RGB, NIR, TIR, SKETCH)
    assert clock.worked == {"decode": 2, "sketch": 2, "nir": 2, "tir": 2}
    assert set(clock.seconds) == set(clock.worked)


def test_what_is_kept_of_an_earlier_build_is_not_made_again(tmp_path: Path) -> None:
    first = run(tmp_path, [row(1)], {"nir": {**GREY, "missing_only": False}})[0][0]
    kept = replace(first, kept=frozenset({Target.NIR}))
    (again,), clock = run(tmp_path, [kept], {"nir": {**GREY, "missing_only": False}})
    assert again == kept and clock.worked == {}


def test_the_result_does_not_depend_on_who_is_in_the_batch(tmp_path: Path) -> None:
    rows = [row(n, side=16 if n % 2 else 12) for n in range(6)]
    together, _ = run(tmp_path, rows, {"nir": {**GREY, "batch_size": 6}})
    alone = [run(tmp_path, [r], {"nir": GREY})[0][0] for r in rows]
    assert together == alone


def test_a_bad_caption_is_made_again_with_another_seed_and_a_good_one_once(tmp_path: Path) -> None:
    generate = {"text": {"generator": "net_text", "params": {"shy": 400}}}
    rows = [row(n) for n in range(12)]
    first, clock = run(tmp_path, rows, generate, on_bad="keep")
    texts = [r.sample.captions[0].text for r in first]
    bad = [t.startswith("unknown") for t in texts]
    assert 0 < sum(bad) < 12
    assert clock.captions == {
        "made": 12,
        "good": 12 - sum(bad),
        "kept": sum(bad),
        "because unknown": sum(bad),
    }

    again, clock = run(tmp_path, rows, generate, on_bad="regenerate", tries=2)
    for was_bad, before, after in zip(bad, texts, again, strict=True):
        assert after.error is None, "a row goes on without a caption"
        said = [c.text for c in after.sample.captions]
        assert not any(t.startswith("unknown") for t in said)
        assert was_bad or said == [before]
    assert clock.captions["again"] >= sum(bad)
    assert clock.captions["good"] + clock.captions["dropped"] == 12
    assert clock.captions["good"] == sum(bool(r.sample.captions) for r in again) > 12 - sum(bad)

    dropped, clock = run(tmp_path, rows, generate, on_bad="drop")
    assert [bool(r.sample.captions) for r in dropped] == [not b for b in bad]
    assert clock.captions["dropped"] == sum(bad) and "again" not in clock.captions


def test_the_caption_policy_is_part_of_what_a_caption_depends_on_and_of_nothing_else(tmp_path: Path) -> None:
    generate = {"text": {"generator": "net_text"}, "nir": GREY}
    one, other = (recipe_of(tmp_path, generate, captions={"min_confidence": c}) for c in (0.0, 0.5))
    assert one.by_target[Target.TEXT].key != other.by_target[Target.TEXT].key
    assert one.by_target[Target.NIR].key == other.by_target[Target.NIR].key


def test_a_step_that_asks_for_a_gpu_is_refused_where_none_is_granted(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, {"mask": {**NET, "gpus": 0.5}})
    with pytest.raises(ConfigError, match=r"build\.generate\.mask\.gpus=0\.5: .* have no GPU; set 0"):
        Generation(recipe.steps, 0, CaptionPolicy(), cpu_only)
