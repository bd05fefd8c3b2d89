"""Query fusion: seven subsets of three modalities, each real or stood in for, become one vector each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.flexireid.fusion_variants import make_fusion, reads_tokens
from reid.models.flexireid.query_fusion import FusionConfig, QueryFusion
from reid.models.flexireid.streams import Stream, all_modes, resample_picture, resample_text
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "flexireid.json").read_text())
DIM, CONTEXT = 16, 12
MODES = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
KINDS = ["cmqf", "concat", "sum", "hierarchical"]
READINGS = ["global_q_local_kv", "global", "resampled"]


def fusion(slots: tuple[int, ...] = (0, 1, 2), **fields: Any) -> nn.Module:
    torch.manual_seed(3)
    return make_fusion(FusionConfig.model_validate(fields), DIM, slots, CONTEXT)


def streams_of(size: int, rows: Mapping[int, list[int]] | None = None, seed: int = 0) -> dict[int, Stream]:
    """Nine picture tokens, the first of them global; texts of up to eight words, the last of them global."""
    draw = torch.Generator().manual_seed(seed)
    tokens = {m: torch.randn(size, 8 if m == 2 else 9, DIM, generator=draw) for m in range(3)}
    ends = torch.arange(size) % 5 + 3
    found = {}
    for m, x in tokens.items():
        own = torch.tensor((rows or {}).get(m, list(range(size))), dtype=torch.int64)
        whole = x[torch.arange(size), ends] if m == 2 else x[:, 0]
        ignored = (torch.arange(8) > ends[:, None])[own] if m == 2 else None
        found[m] = Stream(own, whole[own], x[own], ignored)
    return found


def everything(size: int) -> Tensor:
    return torch.ones(size, 7, dtype=torch.bool)


def test_modes_are_the_seven_subsets() -> None:
    assert all_modes([0, 1, 2]) == MODES
    assert all_modes([0, 2]) == [(0,), (2,), (0, 2)]


@pytest.mark.parametrize("residual", ["q", "kv"])
@pytest.mark.parametrize("scope", ["shared", "per_mode"])
@pytest.mark.parametrize("mode", range(7))
def test_each_modality_is_asked_by_the_sum_of_the_other_two(mode: int, scope: str, residual: str) -> None:
    """The paper's equations for one row, with the embedding wherever a modality is missing."""
    module = fusion(lef_scope=scope, residual=residual)
    assert isinstance(module, QueryFusion)
    streams = streams_of(1)
    table: Tensor = module.lef.get_parameter("table")
    lacking = [(k, m) for k, slots in enumerate(MODES) for m in range(3) if m not in slots]

    def stand_in(m: int) -> Tensor:
        return table[m] if scope == "shared" else table[sorted(lacking).index((mode, m))]

    real = MODES[mode]
    x = [streams[m].whole if m in real else stand_in(m) for m in range(3)]  # (1, D)
    answers = []
    for m, (a, b) in enumerate(((1, 2), (0, 2), (0, 1))):
        source = streams[m].tokens if m in real else stand_in(m)[None]
        if m == 2 and m in real:
            source = source[:, :4]  # up to the end token
        answers.append(module.ask[m]((x[a] + x[b])[None], source, None, x[m][None]))
    expected = module.fuse(torch.cat(answers, dim=1)).mean(1)
    wanted = torch.zeros(1, 7, dtype=torch.bool)
    wanted[0, mode] = True
    assert torch.allclose(module(streams, wanted), expected, atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        *({"kind": kind} for kind in KINDS),
        *({"tokens": tokens, "depth": 2} for tokens in READINGS),
        {"tokens": "resampled", "length": 5},
        {"lef": "zeros", "residual": "none"},
        {"kind": "hierarchical", "lef_scope": "per_mode"},
    ],
)
def test_a_row_is_fused_alike_alone_and_among_rows_of_other_subsets(fields: dict[str, Any]) -> None:
    """Rows may lack modalities and want what they can; the order is row by row."""
    module = fusion(**fields)
    rows = {m: [r for r, mode in enumerate(MODES) if m in mode] for m in range(3)}
    wanted = torch.tensor([[set(ask) <= set(mode) for ask in MODES] for mode in MODES])
    together = module(streams_of(7, rows), wanted)
    assert together.shape == (int(wanted.sum()), DIM)
    alone = []
    for r, mode in enumerate(MODES):
        whole = streams_of(7)
        single = {}
        for m in mode:
            s = whole[m]
            cut = None if s.ignored is None else s.ignored[r : r + 1]
            single[m] = Stream(
                torch.zeros(1, dtype=torch.int64), s.whole[r : r + 1], s.tokens[r : r + 1], cut
            )
        alone.append(module(single, wanted[r : r + 1]))
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.allclose(module(streams_of(7, rows), wanted, True), together, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_says_what_its_modalities_say_and_nothing_of_the_others(kind: str) -> None:
    module = fusion(kind=kind)
    streams, other = streams_of(2), streams_of(2, seed=1)
    before = module(streams, everything(2)).view(2, 7, DIM)
    for m in range(3):
        after = module({**streams, m: other[m]}, everything(2)).view(2, 7, DIM)
        for k, mode in enumerate(MODES):
            same = torch.allclose(before[:, k], after[:, k], atol=1e-6)
            assert same == (m not in mode), (m, mode)


def test_padding_of_a_text_is_never_read() -> None:
    for fields in ({}, {"tokens": "resampled"}, {"kind": "concat"}):
        module, streams = fusion(**fields), streams_of(3)
        text = streams[2]
        assert text.ignored is not None
        filled = torch.where(text.ignored[..., None], 50.0, text.tokens)
        changed = {**streams, 2: Stream(text.rows, text.whole, filled, text.ignored)}
        found = module(changed, everything(3))
        assert torch.allclose(found, module(streams, everything(3)), atol=1e-5), fields


def test_sum_adds_unit_vectors() -> None:
    streams = streams_of(2)
    found = fusion(kind="sum")(streams, everything(2)).view(2, 7, DIM)
    unit = [F.normalize(streams[m].whole, dim=1) for m in range(3)]
    assert torch.allclose(found[:, 1], unit[1])
    assert torch.allclose(found[:, 6], unit[0] + unit[1] + unit[2])
    assert not list(fusion(kind="sum").parameters())


def test_without_learned_embeddings_zeros_stand_in() -> None:
    learned, zeros = fusion(), fusion(lef="zeros")
    names = {n for n, _ in learned.named_parameters()} - {n for n, _ in zeros.named_parameters()}
    assert names == {"lef.table"}
    assert "lef.zeros" not in zeros.state_dict()
    zeros.load_state_dict({k: v for k, v in learned.state_dict().items() if k != "lef.table"})
    streams = streams_of(2)
    whole, bare = (m(streams, everything(2)).view(2, 7, DIM) for m in (learned, zeros))
    assert torch.allclose(whole[:, 6], bare[:, 6])
    assert not torch.allclose(whole[:, 0], bare[:, 0], atol=1e-3)
    with torch.no_grad():
        learned.get_parameter("lef.table").zero_()
    assert torch.allclose(learned(streams, everything(2)).view(2, 7, DIM), bare, atol=1e-6)


@pytest.mark.parametrize("scope", ["shared", "per_mode"])
def test_there_is_one_embedding_a_modality_or_one_a_modality_and_subset_that_lacks_it(scope: str) -> None:
    expected = {"shared": (3, 1, DIM), "per_mode": (9, 1, DIM)}[scope]
    assert fusion(lef_scope=scope).get_parameter("lef.table").shape == expected
    long = fusion(lef_scope=scope, tokens="resampled").get_parameter("lef.table")
    assert long.shape == (expected[0], CONTEXT, DIM)
    assert fusion((0, 2)).get_parameter("lef.table").shape == (3, 1, DIM)


@pytest.mark.parametrize(
    "fields", [*({"kind": k} for k in KINDS), *({"tokens": t} for t in READINGS), {"lef_scope": "per_mode"}]
)
@pytest.mark.parametrize("slots", [(0, 1, 2), (2,), (0, 1)])
def test_gradients_reach_every_parameter_and_every_modality(
    fields: dict[str, Any], slots: tuple[int, ...]
) -> None:
    module = fusion(slots, **fields)
    streams = {m: s for m, s in streams_of(3).items() if m in slots}
    inputs = {m: s.tokens.requires_grad_() for m, s in streams.items()}
    wholes = {m: s.whole.requires_grad_() for m, s in streams.items()}
    wanted = torch.ones(3, len(all_modes(slots)), dtype=torch.bool)
    module(streams, wanted, True).square().sum().backward()
    dead = {n for n, p in module.named_parameters() if p.grad is None}
    assert not dead
    for m in slots:
        gradient = wholes[m].grad if inputs[m].grad is None else inputs[m].grad
        assert gradient is not None and gradient.any()


def test_nobody_asking_gives_nothing_and_still_gradients_when_every_mode_is_computed() -> None:
    for kind in KINDS[:2] + KINDS[3:]:
        module = fusion(kind=kind)
        nothing = torch.zeros(2, 7, dtype=torch.bool)
        assert module(streams_of(2), nothing).shape == (0, DIM)
        module(streams_of(2), nothing, True).sum().backward()
        assert all(p.grad is not None for p in module.parameters()), kind


def attention_gradients(tokens: str, keys: int) -> float:
    """Norm of the gradient of the key projection, as a share of the value projection's."""
    torch.manual_seed(0)
    module = make_fusion(FusionConfig(tokens=tokens), 64, (0, 1, 2), 77)  # type: ignore[arg-type]
    streams = {}
    for m in range(3):
        x = torch.randn(4, keys, 64)
        streams[m] = Stream(torch.arange(4), x[:, 0], x)
    wanted = torch.zeros(4, 7, dtype=torch.bool)
    wanted[:, 6] = True
    module(streams, wanted).square().sum().backward()
    assert isinstance(module, QueryFusion)
    gradient = module.ask[0].blocks[0].attention.in_proj_weight.grad  # type: ignore[union-attr, index]
    assert isinstance(gradient, Tensor)
    _, key, value = gradient.chunk(3)
    return float(key.norm() / value.norm())


def test_attention_to_a_single_global_vector_cannot_learn_what_to_attend_to() -> None:
    golden = GOLDEN["gradient_ratio"]
    assert attention_gradients("global", golden["keys"]) < golden["one_key"]
    assert attention_gradients("global_q_local_kv", golden["keys"]) > 0.05


def test_the_default_has_the_papers_size() -> None:
    with torch.device("meta"):
        module = make_fusion(FusionConfig(), 512, (0, 1, 2), 77)
    assert sum(p.numel() for p in module.parameters()) == GOLDEN["parameters"]["fusion"]
    assert GOLDEN["parameters"]["fusion"] / 1e6 == pytest.approx(GOLDEN["millions"]["fusion"], abs=0.05)


def test_only_some_fusions_read_more_than_global_vectors() -> None:
    def reads(**fields: Any) -> bool:
        return reads_tokens(FusionConfig.model_validate(fields))

    assert reads() and reads(kind="concat") and reads(tokens="resampled")
    assert not reads(kind="sum") and not reads(kind="hierarchical") and not reads(tokens="global")


def test_pictures_and_texts_are_brought_to_one_length() -> None:
    tokens = torch.randn(2, 1 + 8, DIM)
    found = resample_picture(tokens, 5)
    assert torch.equal(found[:, 0], tokens[:, 0])
    assert torch.allclose(found[:, 1], tokens[:, 1:3].mean(1), atol=1e-6)
    words, ignored = torch.randn(2, 6, DIM), torch.tensor([[False] * 6, [False] * 3 + [True] * 3])
    same, padding = resample_text(words, ignored, CONTEXT, CONTEXT)
    assert padding is not None
    assert torch.allclose(same[0, :6], words[0], atol=1e-6)
    assert not same[0, 6:].any() and not same[1, 3:].any()
    assert padding.sum(1).tolist() == [6, 9]
    half, padding = resample_text(words, ignored, CONTEXT, 6)
    assert padding is not None and padding.sum(1).tolist() == [3, 4]
    assert torch.allclose(half[0, 2], words[0, 4:6].mean(0), atol=1e-6)
    assert torch.allclose(half[1, 1], words[1, 2], atol=1e-6)  # the mean of the words that there are
