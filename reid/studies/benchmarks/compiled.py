"""A compiled evaluator to compare with: NumPy's argsort, then one pass in C over each query's ranking.

It does what the Cython evaluators of published code do. It is built by the system's C compiler when it is
measured, so that the package itself needs none.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SOURCE = r"""
#include <stdint.h>

/* For every query: mean precision at its positives, positives / rank of the last one, rank of the first.
   Items of the query's identity and camera are passed over; 0 positives leave ap at -1. */
void rank_pass(const int64_t *order, const int64_t *q_pid, const int64_t *q_cam, const int64_t *g_pid,
               const int64_t *g_cam, int64_t queries, int64_t gallery, double *ap, double *inp,
               int64_t *first) {
    for (int64_t q = 0; q < queries; q++) {
        const int64_t *row = order + q * gallery;
        const int64_t pid = q_pid[q], cam = q_cam[q];
        int64_t rank = 0, hits = 0, last = 0, begin = 0;
        double sum = 0.0;
        for (int64_t i = 0; i < gallery; i++) {
            const int64_t g = row[i];
            const int same = g_pid[g] == pid;
            if (same && g_cam[g] == cam) continue;
            rank++;
            if (same) {
                hits++;
                sum += (double)hits / (double)rank;
                last = rank;
                if (hits == 1) begin = rank;
            }
        }
        ap[q] = hits ? sum / (double)hits : -1.0;
        inp[q] = hits ? (double)hits / (double)last : -1.0;
        first[q] = begin;
    }
}
"""
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
Codes = npt.NDArray[np.int64]


class CompiledEvaluator:
    """mAP, R1 and mINP of similarities under the rule that items of the query's camera do not count."""

    def __init__(self, library: Any) -> None:
        self._pass = library.rank_pass
        self._pass.restype = None

    def __call__(
        self, similarity: npt.NDArray[np.float32], q: tuple[Codes, Codes], g: tuple[Codes, Codes]
    ) -> tuple[float, float, float]:
        """Evaluate (Q, G) similarities; `q` and `g` are the identities and cameras of each side, int64."""
        order = np.argsort(-similarity, axis=1)
        queries, gallery = order.shape
        ap, inp = np.empty(queries), np.empty(queries)
        first = np.empty(queries, np.int64)
        sides = [np.ascontiguousarray(codes, np.int64) for codes in (*q, *g)]
        self._pass(
            *map(_pointer, (order, *sides)),
            ctypes.c_int64(queries),
            ctypes.c_int64(gallery),
            *map(_pointer, (ap, inp, first)),
        )
        counted = ap >= 0
        return float(ap[counted].mean()), float((first[counted] == 1).mean()), float(inp[counted].mean())


def build() -> CompiledEvaluator | str:
    """The evaluator, or why it cannot be built here: no C compiler, or one that fails."""
    named = os.environ.get("CC", "").split()[:1]
    compiler = next((found for name in (*named, "cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return "no C compiler (cc, gcc, clang or $CC)"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "rank.c"), Path(folder, "rank.so")
        source.write_text(SOURCE)
        done = subprocess.run(
            [compiler, *FLAGS, str(source), "-o", str(library)], capture_output=True, text=True
        )
        if done.returncode:
            return f"{compiler} failed: {done.stderr.strip().splitlines()[-1:] or 'no message'}"
        return CompiledEvaluator(ctypes.CDLL(str(library)))


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
