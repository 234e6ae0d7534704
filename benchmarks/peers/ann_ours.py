"""Crossbind's engines, and FAISS as it comes, for ann.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ann_system import K, Rows, System


class Ours(System):
    """`knobs` are recalls: the same base, tuned anew for each."""

    needs = ("index.factory", "index.vectors.faiss_engine", "index.vectors.faiss_kinds")
    knobs = (0.9, 0.94, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995)
    filters = True

    def __init__(self, kind: str) -> None:
        self._address = f"{kind}?recall=0.95"

    def _open(self, folder: Path, dim: int) -> Any:
        from index.factory import open_index
        from index.types import Place

        return open_index(self._address, dim, Place(folder, "benchmark"))

    def build(self, rows: Rows, folder: Path) -> None:
        np.save(folder / "probes.npy", rows.probes)
        np.save(folder / "field.npy", rows.field.astype(np.int16))
        engine = self._open(folder, rows.base.shape[1])
        engine.upsert(np.arange(len(rows.base)), rows.base)
        engine.commit(1, lambda: rows.probes)
        engine.settle()
        engine.close()

    def load(self, folder: Path) -> None:
        self._field = np.load(folder / "field.npy")
        self._probes = np.load(folder / "probes.npy")
        self._folder = folder
        self._engine = self._open(folder, self._probes.shape[1])
        if not len(self._engine):
            raise SystemExit(f"what {folder} holds was built by an older version: remove it")

    def turn(self, knob: float) -> None:
        from dataclasses import replace

        from index.vectors.tail import Tail
        from index.vectors.tuning import Codes, Setting, Tuning, tune

        state = self._engine._state
        base = state.base
        known = self._folder / f"tuning-{knob}.json"
        if not known.exists():
            with Tail(self._engine.dim) as judge:
                tuning = tune(
                    base.index,
                    base.vectors,
                    self._probes,
                    knob,
                    lambda queries, k, rows: judge.among(queries, base.vectors, k, rows)[1],
                )
            known.write_text(json.dumps([tuning.settings, tuning.row_seconds, tuning.codes]))
        settings, row_seconds, codes = json.loads(known.read_text())
        tuning = Tuning(
            [Setting(*setting) for setting in settings], row_seconds, codes and Codes(*codes)
        )
        base = replace(base, tuning=tuning)
        self._engine._state = state._replace(base=base)
        self._engine._tuned = base  # not to be tuned again by what is asked

    def search(self, queries: Any) -> Any:
        return self._engine.search(queries, K).ids

    def among(self, queries: Any, below: int) -> Any:
        from index.types import Where

        # Which rows may answer is worked out within the time, as in a service.
        where = Where(lambda: np.flatnonzero(self._field < below))
        return self._engine.search(queries, K, where).ids


class OursExact(Ours):
    needs = ("index.factory", "index.vectors.exact")
    knobs = (None,)

    def __init__(self) -> None:
        self._address = "exact"

    def build(self, rows: Rows, folder: Path) -> None:
        np.save(folder / "base.npy", rows.base)
        np.save(folder / "field.npy", rows.field.astype(np.int16))

    def load(self, folder: Path) -> None:
        base = np.load(folder / "base.npy")
        self._field = np.load(folder / "field.npy")
        self._engine = self._open(folder, base.shape[1])
        self._engine.upsert(np.arange(len(base)), base)

    def turn(self, knob: None) -> None:
        pass


class Faiss(System):
    """knob: a FAISS parameter string."""

    needs = ("faiss",)

    def __init__(self, factory: str, name: str, values: Sequence[int], extra: str = "") -> None:
        self._factory = factory
        self.knobs = [f"{name}={value}{extra}" for value in values]

    def build(self, rows: Rows, folder: Path) -> None:
        import faiss

        index = faiss.index_factory(rows.base.shape[1], self._factory, faiss.METRIC_INNER_PRODUCT)
        if self._factory.startswith("HNSW"):
            index.hnsw.efConstruction = 128
        index.train(rows.base)
        index.add(rows.base)
        faiss.write_index(index, str(folder / "index"))

    def load(self, folder: Path) -> None:
        import faiss

        self._index = faiss.read_index(str(folder / "index"))

    def turn(self, knob: str) -> None:
        import faiss

        faiss.ParameterSpace().set_index_parameters(self._index, knob)

    def search(self, queries: Any) -> Any:
        return self._index.search(queries, K)[1]
