"""The cache of decoded pictures: bounded, least recently used, shared by threads."""

from __future__ import annotations

import threading

import numpy as np

from reid.data.batches.collate import PixelCache


def picture(size: int) -> np.ndarray:
    return np.zeros(size, np.uint8)


def test_the_cache_drops_what_was_not_used_for_longest() -> None:
    cache = PixelCache(100)
    for name in "abc":
        cache.put(name, picture(30))
    assert cache.get("a") is not None
    cache.put("d", picture(40))
    assert [n for n in "abcd" if cache.get(n) is not None] == ["a", "c", "d"]
    assert cache.used == 100
    cache.put("e", picture(101))
    assert cache.get("e") is None
    assert cache.used == 100, "nothing makes room for what cannot fit"
    cache.put("d", picture(40))
    assert cache.used == 100


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = PixelCache(0)
    cache.put("a", picture(1))
    assert cache.get("a") is None
    assert cache.used == 0


def test_threads_share_a_cache_within_its_limit() -> None:
    cache = PixelCache(300)
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        source = np.random.default_rng(seed)
        try:
            for name in map(str, source.integers(0, 40, 3000)):
                if cache.get(name) is None:
                    cache.put(name, picture(10))
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    kept = [found for n in range(40) if (found := cache.get(str(n))) is not None]
    assert cache.used == sum(k.nbytes for k in kept) == 300
