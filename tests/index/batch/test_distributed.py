"""Work on a cluster: what a worker answers, what is done when workers are lost, and one real run.

The loss of a real machine is in `benchmarks/ray_nodes.py`. Ray itself runs in a process of its own:
it leaves sockets and threads behind that are no business of this suite.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import MissingWeights, NotAvailable, SpaceMismatch
from embed.registry import LoadOptions
from embed.types import Batching, Media, Modality, Space, Span, Vectors, normalise
from index.batch.distributed import Cluster, Worker, _outcome, _StandsStill
from index.batch.locations import Given
from index.batch.members import Member
from index.batch.reading import Outcome

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)
needs_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray[data]")


class Toy:
    space = SPACE
    modalities = frozenset({Modality.TEXT})
    chunker = "whole"
    batching = Batching()
    image_side = 16

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return 0

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> str:
        return str(piece.data)

    def run(self, _: Modality, batch: Sequence[str]) -> Vectors:
        rows = [np.random.default_rng([*words.encode()]).standard_normal(8) for words in batch]
        return Vectors(SPACE, normalise(np.stack(rows)))

    def embed(self, batch: Sequence[Media]) -> Vectors:
        return self.run(batch[0].modality, [self.prepare(one) for one in batch])


def member(name: str, data: bytes = b"words") -> Member:
    return Member(uri=f"x:{name}", name=f"{name}.txt", record=name, at=Given(data), stamp=None)


def ask(worker: Worker, members: Sequence[Member]) -> list[Any]:
    import pyarrow as pa

    table = pa.table({"pickled": pa.array([pickle.dumps(m) for m in members], pa.large_binary())})
    return [pickle.loads(one) for one in worker(table).column(0).to_pylist()]


@needs_arrow
def test_a_worker_answers_for_each_member_and_never_raises() -> None:
    worker = Worker(Toy, SPACE.id)
    good, bad = ask(worker, [member("a", b"alpha"), member("b", b"\0\1\2")])
    assert (good.uri, good.entries[0].text, good.failures) == ("x:a", "alpha", [])
    joint = Toy().run(Modality.TEXT, ["alpha"]).joint[0]
    assert np.array_equal(good.entries[0].fragments[0].joint, joint)
    assert (bad.entries, bad.failures[0].uri) == ([], "x:b")
    [same] = ask(worker, [Member(**{**fields(member("a", b"alpha")), "known": good.digest})])
    assert (same.digest, same.entries) == (good.digest, [])
    worker.close()


def fields(of: Member) -> dict[str, Any]:
    return {name: getattr(of, name) for name in Member.__dataclass_fields__}


@needs_arrow
@pytest.mark.parametrize("error", [MissingWeights("no weights"), None])
def test_what_a_worker_cannot_load_is_told_once_and_ends_the_run(error: Any) -> None:
    def load() -> Any:
        if error:
            raise error
        return Toy()

    [answer] = ask(Worker(load, "another@123"), [member("a"), member("b")])
    assert isinstance(answer, MissingWeights if error else SpaceMismatch)
    with pytest.raises(type(answer)):
        _outcome(pickle.dumps(answer))


class Lost(Exception):
    """Stands in the place of Ray's own errors."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """A cluster whose runs are scripted: each takes the members and how many go together."""

    def make(*runs: Callable[[Sequence[Member], int], Iterator[Outcome]]) -> Any:
        made = Cluster(SPACE, LoadOptions(cache=tmp_path, threads=1), load=Toy)
        left = iter(runs)

        def run(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
            return next(left)(members, batch)

        monkeypatch.setattr(made, "_run", run)
        monkeypatch.setattr("index.batch.distributed._lost", lambda: Lost)
        return made

    return make


def done(of: Member) -> Outcome:
    return Outcome(uri=of.uri, digest="d")


def test_what_was_lost_goes_out_again_and_what_ends_its_worker_fails_alone(
    cluster: Callable[..., Any],
) -> None:
    sizes: list[tuple[int, int]] = []

    def half(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        sizes.append((len(members), batch))
        yield from map(done, members[:5])
        yield done(members[0])  # twice
        raise Lost

    def all_but_poison(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        sizes.append((len(members), batch))
        yield from (done(one) for one in members if one.uri != "x:7")
        raise Lost

    made = cluster(half, all_but_poison, all_but_poison, all_but_poison)
    wave = {f"x:{n}": member(str(n)) for n in range(10)}
    answers = list(made._answers(dict(wave)))
    assert sizes == [(10, 32), (5, 1), (1, 1), (1, 1)]
    assert {one.uri for one in answers} == set(wave)
    [failed] = [one for one in answers if one.failures]
    assert (failed.uri, failed.failures[0].code) == ("x:7", "backend_failed")
    assert "7.txt" in failed.failures[0].message


def test_waves_grow_and_an_end_leaves_nobody_waiting(
    cluster: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    given: list[int] = []

    def answers(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        sizes.append(len(members))
        yield from map(done, members)

    def endless(count: int) -> Iterator[Member]:
        for number in range(count):
            given.append(number)
            yield member(str(number))

    monkeypatch.setattr("index.batch.distributed.FIRST_WAVE", 4)
    monkeypatch.setattr("index.batch.distributed._connected", nullcontext)
    made = cluster(answers, answers, answers)
    assert [one.uri for one in made(endless(30))] == [f"x:{n}" for n in range(30)]
    assert sizes == [4, 16, 10]
    given.clear()
    broken_off = cluster(answers)(endless(10**9))
    assert next(broken_off).uri == "x:0"
    broken_off.close()
    assert len(given) <= 4 + 16 + 1


def test_workers_that_end_as_soon_as_they_begin_end_the_run(cluster: Callable[..., Any]) -> None:
    def broken(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        raise Lost("no module named index")
        yield

    with pytest.raises(NotAvailable, match=r"no module named index.*same version"):
        list(cluster(broken, broken)._answers({f"x:{n}": member(str(n)) for n in range(9)}))


def test_a_cluster_that_stands_still_ends_the_run_but_a_few_do_not(
    cluster: Callable[..., Any],
) -> None:
    def still(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        raise _StandsStill("no progress")
        yield

    def one(members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        yield done(members[0])
        yield from still(members, batch)

    with pytest.raises(NotAvailable, match="no progress"):
        list(cluster(still)._answers({"x:1": member("1")}))
    many = {f"x:{n}": member(str(n)) for n in range(99)}
    with pytest.raises(NotAvailable, match="no progress"):
        list(cluster(one)._answers(dict(many)))
    few = {f"x:{n}": member(str(n)) for n in range(3)}
    answers = list(cluster(one, still, still)._answers(few))
    assert [len(answer.failures) for answer in answers] == [0, 1, 1]


RUN = """
import sys
from pathlib import Path
from embed.batcher import Batcher
from embed.registry import LoadOptions
from index.catalog import Catalog
from index.collection import Collection
from index.batch.distributed import Cluster
from index.batch.sources import open_sources
from index.batch.stream import Threads, ingest_sources
import test_distributed as here
root = Path(sys.argv[1])

def contents(work):
    catalog = Catalog(root / work / "catalog.db")
    info = catalog.create_collection("c", space=here.SPACE, chunker="whole")
    collection = Collection(catalog, info)
    batcher = Batcher(here.Toy())
    how = {"threads": lambda: Threads(collection, batcher, 2), "ray": lambda: Cluster(
        here.SPACE, LoadOptions(cache=root, threads=1), load=here.Toy, address="local")}[work]()
    report = ingest_sources(open_sources([root / "x.tar"]).streams, collection, how)
    items = collection.items(limit=1000)[0]
    found = {i.uri: (i.record, i.digest, i.text, collection.vectors_of(i.id).tobytes())
             for i in items}
    batcher.close()
    catalog.close()
    return found, [(f.uri, f.code, f.message) for f in report.failures], report.ingested

threads = contents("threads")
assert "ray" not in sys.modules
ray = contents("ray")
assert threads == ray
print("equal", ray[2], len(ray[1]))
"""


@needs_ray
def test_on_ray_the_result_is_that_of_one_process(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for number in range(50):
            data = b"\0\1" if number == 7 else f"text {number}".encode()
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    script = textwrap.dedent(RUN)
    words = [sys.executable, "-c", script, str(tmp_path)]
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}  # for the workers, too
    ran = subprocess.run(words, env=here, capture_output=True, text=True, timeout=120)
    assert ran.stdout.splitlines()[-1:] == ["equal 49 1"], ran.stderr[-3000:]
