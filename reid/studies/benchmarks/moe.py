"""Ways to compute a mixture of experts, at several sizes: grouped, dense, and loops over the experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from reid.nn.moe.experts import BottleneckExperts, Experts
from reid.nn.moe.layer import dense, grouped
from reid.nn.moe.routing import Router, RouterConfig, Routing
from reid.studies.benchmarks.plain import loop, loop_chosen
from reid.studies.benchmarks.timing import BenchmarkRow, compare

# tokens, experts, width, hidden, experts a token goes to
SIZES = [
    (3096, 6, 768, 512, 1),  # MFRNet's FRM at 8 triples
    (3096, 3, 768, 1024, 1),  # one call of its generators
    (12384, 6, 768, 512, 1),
    (3096, 6, 768, 512, 2),
    (3096, 6, 768, 64, 3),  # FlexiReID's adapters
    (129, 6, 768, 512, 1),  # one picture
]
TARGET = 2.0
Combine = Callable[[Tensor, Routing, Experts], Tensor]


def moe_rows(repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Times of forward, and of forward and backward; ratios to the loop of every expert on every token."""
    ways: dict[str, Combine] = {"grouped": grouped, "dense": dense, "loop": loop, "chosen loop": loop_chosen}
    for tokens, count, width, hidden, k in SIZES:
        torch.manual_seed(0)
        router = Router(RouterConfig(score="cosine", top_k=k), width, count).to(device)
        experts = BottleneckExperts(count, width, hidden).to(device)
        x = torch.randn(tokens, width, device=device)
        with torch.no_grad():
            routing = router(x)

        def forward(way: Combine, x: Tensor = x, r: Routing = routing, e: Experts = experts) -> Tensor:
            with torch.no_grad():
                return way(x, r, e)

        def both(way: Combine, x: Tensor = x, r: Routing = routing, e: Experts = experts) -> None:
            e.zero_grad()
            way(x.clone().requires_grad_(), r, e).square().sum().backward()

        for label, call in (("forward", forward), ("forward+backward", both)):
            found = compare({name: partial(call, way) for name, way in ways.items()}, repeats, device)
            base = found["loop"].seconds
            for name, measured in found.items():
                if name == "loop":
                    continue
                aimed = name == "grouped" and label == "forward" and (tokens, count, k) == (3096, 6, 1)
                yield BenchmarkRow(
                    f"{tokens}x{width} E={count} H={hidden} k={k} {label} {name}",
                    measured.seconds * 1e3,
                    "ms",
                    base * 1e3,
                    base / measured.seconds,
                    TARGET if aimed else None,
                )
