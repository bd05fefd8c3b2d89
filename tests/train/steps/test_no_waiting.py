"""A training step of any system waits for its device at no point, but for the numbers that are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from reid.data.batches.batch import Batch, join
from reid.nn import host_reads
from reid.nn.distributed import local_statistics
from reid.nn.host_reads import HostRead
from reid.train.classifiers.placement import clip_gradients
from reid.train.epoch import total_loss
from reid.train.optimizer import build_optimizer
from reid.train.steps.averaging import WeightAverage
from reid.train.steps.metrics import StepMetrics
from tests.support.models.ddp_ranks import CASES, batch_of, config_of, model_of
from tests.support.models.no_waiting import META, Waits, no_waiting

SYSTEMS = ("concat", "mean, ragged", "mfrnet", "signal", "stmi", "flexireid", "mixer")
READS = {"mfrnet": 3, "mfrnet, a modality on one rank only": 3}
"""The runs of FFM's two mixtures and of FRM's one; the meta device is one that multiplies runs itself."""


def step(
    case: str,
    device: torch.device,
    rows: Batch | None = None,
    scope: Callable[[], AbstractContextManager[None]] = local_statistics,
) -> StepMetrics:
    """Forward, backward, clipping, optimiser, average of weights and statistics."""
    config = config_of(case)
    model = model_of(config).to(device)
    batch = (batch_of(case, 0) if rows is None else rows).to(device)
    optimizer, metrics = build_optimizer(model, config.train.optim), StepMetrics(device)
    WeightAverage(optimizer, 0.9)
    with no_waiting(), scope():
        output = model(batch)
        loss = total_loss(output)
        loss.backward()
        norm = clip_gradients(model, 1.0)
        optimizer.step()
        metrics.add(output, loss, norm)
    return metrics


@pytest.mark.parametrize("case", SYSTEMS)
def test_a_step_runs_where_no_number_can_be_read(case: str) -> None:
    assert len(step(case, META)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_so_does_every_variant_on_the_rows_of_both_ranks(case: str) -> None:
    assert len(step(case, META, join([batch_of(case, 0), batch_of(case, 1)]))) == 1


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """This process plays one of two ranks."""
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two_ranks")
@pytest.mark.parametrize("case", ["mean, ragged", "stmi", "mixer"])
def test_nor_do_ranks_that_gather_as_many_rows_as_each_has(case: str) -> None:
    assert len(step(case, META, scope=nullcontext)) == 1


@pytest.mark.parametrize("case", SYSTEMS)
def test_numbers_that_are_read_are_named_and_so_many(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[HostRead] = Counter()
    monkeypatch.setattr(host_reads, "counted", seen)
    step(case, torch.device("cpu"))
    expected = {HostRead.EXPERT_RUNS: READS[case]} if case in READS else {}
    assert seen == expected


def test_every_number_that_may_be_read_has_its_reason() -> None:
    assert all(len(read.split()) > 10 for read in HostRead)


READING: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool(x.any()),
    "int of a maximum": lambda x: int(x.max()),
    "cpu": lambda x: x.cpu(),
    "to cpu": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "unique": lambda x: x.unique(return_inverse=True),
    "masked_select": lambda x: x.masked_select(x > 0),
    "index by a mask": lambda x: x[x > 0],
    "write by a mask": lambda x: x.index_put((x > 0,), torch.zeros((), device=META)),
    "index by a list": lambda x: x[[0, 1]],
    "index by a tensor of the CPU": lambda x: x[torch.tensor([0, 1])],
    "constant": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0, 2.0]),
    "blocking copy": lambda x: torch.ones(3).to(x.device),
    "repeats of its own": lambda x: x.repeat_interleave(x.long()),
}


@pytest.mark.parametrize("way", READING)
def test_the_detector_sees(way: str) -> None:
    x = torch.ones(3, device=META)
    with no_waiting(), pytest.raises((Waits, RuntimeError, NotImplementedError)):
        READING[way](x)


def test_the_detector_lets_pass_what_does_not_wait() -> None:
    x = torch.ones(3, device=META)
    rows = torch.tensor([0, 2])
    with no_waiting():
        moved = rows.to(META, non_blocking=True)
        assert x[moved].shape == (2,)
        assert (x * 2.0 + torch.zeros_like(x)).sum().shape == ()
        assert x.repeat_interleave(2).shape == (6,)
        assert x.repeat_interleave(x.long(), output_size=5).shape == (5,)
