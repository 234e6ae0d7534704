"""The batcher: everyone gets their own vector, their own error, and never silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest

from embed.batcher import Batcher, Embedded
from embed.errors import BackendFailed, BadInput, NotAvailable, Overloaded
from embed.types import Batching, Media, Modality, Space, Span, Vectors

SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=8)


class Toy:
    """A vector per word, seeded by the word; some words misbehave."""

    space = SPACE
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    chunker = "whole"
    batching = Batching(workers=2, max_batch=4)
    image_side = 8

    def __init__(self) -> None:
        self.batches: list[list[Media]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.broken = False

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        yield None, media

    def prepare(self, piece: Media) -> Media:
        return piece

    def run(self, _: Modality, batch: Sequence[Media]) -> Vectors:
        return self.embed(batch)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        self.entered.set()
        self.gate.wait()
        self.batches.append(list(batch))
        for media in batch:
            if media.data == "bad":
                raise BadInput("this word is bad")
            if media.data == "exit":
                raise SystemExit(3)
            if self.broken or media.data == "crash":
                raise RuntimeError("the tower fell over")
            if media.data == "short":
                return Vectors(SPACE, np.eye(8, dtype=np.float32)[:0])
        return Vectors(SPACE, np.stack([vector(str(media.data)) for media in batch]))


def vector(word: str) -> np.ndarray:
    row = np.random.default_rng(list(word.encode())).standard_normal(8)
    return (row / np.linalg.norm(row)).astype(np.float32)


def text(word: str) -> Media:
    return Media(Modality.TEXT, word)


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def batcher(toy: Toy) -> Iterator[Batcher]:
    batcher = Batcher(toy, max_pending=8)
    yield batcher
    toy.gate.set()
    batcher.close()


def hold(toy: Toy, batcher: Batcher) -> list[Future[Embedded]]:
    """Occupies both workers, so that what follows waits in the queue."""
    toy.gate.clear()
    held = []
    for word in ("first", "second"):
        toy.entered.clear()
        held.append(batcher.submit(text(word)))
        assert toy.entered.wait(10)
    return held


def test_every_caller_gets_its_own_vector(batcher: Batcher) -> None:
    words = [f"word {n}" for n in range(50)]
    results: dict[str, np.ndarray] = {}

    def call(word: str) -> None:
        results[word] = batcher.submit(text(word)).result(10).joint

    threads = [threading.Thread(target=call, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert set(results) == set(words)
    for word in words:
        np.testing.assert_array_equal(results[word], vector(word))


def test_waiting_media_share_a_batch_up_to_the_limit_and_one_modality(
    toy: Toy, batcher: Batcher
) -> None:
    held = hold(toy, batcher)
    futures = [batcher.submit(text(f"t{n}"), block=False) for n in range(5)]
    futures += [batcher.submit(Media(Modality.IMAGE, f"i{n}"), block=False) for n in range(3)]
    toy.gate.set()
    for future in held + futures:
        assert future.result(10).joint.shape == (8,)
    assert max(len(batch) for batch in toy.batches) > 1
    assert all(len(batch) <= 4 for batch in toy.batches)
    assert all(len({media.modality for media in batch}) == 1 for batch in toy.batches)


def test_one_bad_input_fails_its_own_caller_only(toy: Toy, batcher: Batcher) -> None:
    held = hold(toy, batcher)
    words = ["a", "bad", "b", "c"]
    futures = [batcher.submit(text(word)) for word in words]
    toy.gate.set()
    for future in held:
        future.result(10)
    with pytest.raises(BadInput, match="this word is bad"):
        futures[1].result(10)
    for n in (0, 2, 3):
        np.testing.assert_array_equal(futures[n].result(10).joint, vector(words[n]))
    assert batcher.health().healthy, "a caller's mistake is not the tower's"


@pytest.mark.parametrize("word", ["crash", "exit", "short"])
def test_a_broken_tower_answers_its_callers_and_lives_on(batcher: Batcher, word: str) -> None:
    with pytest.raises(BackendFailed):
        batcher.submit(text(word)).result(10)
    assert not batcher.health().healthy
    assert batcher.health().last_error
    np.testing.assert_array_equal(batcher.submit(text("fine")).result(10).joint, vector("fine"))
    assert batcher.health().healthy


def test_health_stays_bad_while_the_tower_is(toy: Toy, batcher: Batcher) -> None:
    toy.broken = True
    futures = [batcher.submit(text(f"w{n}")) for n in range(6)]
    for future in futures:
        with pytest.raises(BackendFailed, match="fell over"):
            future.result(10)
    assert not batcher.health().healthy


def test_a_full_queue_pushes_back(toy: Toy, batcher: Batcher) -> None:
    held = hold(toy, batcher)
    futures = [batcher.submit(text(f"w{n}"), block=False) for n in range(8)]
    with pytest.raises(Overloaded, match="try again"):
        batcher.submit(text("one more"), block=False)
    blocked: list[Future[Embedded]] = []
    patient = threading.Thread(target=lambda: blocked.append(batcher.submit(text("patient"))))
    patient.start()
    assert not blocked
    toy.gate.set()
    patient.join(10)
    for future in held + futures + blocked:
        future.result(10)
    np.testing.assert_array_equal(blocked[0].result(10).joint, vector("patient"))


def test_a_long_job_leaves_room_for_a_question(toy: Toy, batcher: Batcher) -> None:
    held = hold(toy, batcher)
    job: list[Future[Embedded]] = []
    worker = threading.Thread(
        target=lambda: job.extend(batcher.submit(text(f"w{n}")) for n in range(20))
    )
    worker.start()
    while batcher.health().pending < 4:  # half of the queue, and then it waits
        worker.join(0.01)
    question = batcher.submit(text("question"), block=False)
    toy.gate.set()
    np.testing.assert_array_equal(question.result(10).joint, vector("question"))
    worker.join(10)
    for future in held + job:
        future.result(10)


def test_a_question_goes_before_what_a_job_of_another_medium_has_waiting(toy: Toy) -> None:
    toy.batching = Batching(workers=1, max_batch=2)
    batcher = Batcher(toy)
    toy.gate.clear()
    held = batcher.submit(text("held"))
    assert toy.entered.wait(10)
    job = [batcher.submit(Media(Modality.IMAGE, f"shot {n}")) for n in range(3)]
    question = batcher.submit(text("question"), block=False)
    toy.gate.set()
    batcher.close()
    for future in (held, *job, question):
        future.result(0)
    batches = [[media.data for media in batch] for batch in toy.batches]
    assert batches == [["held"], ["question"], ["shot 0", "shot 1"], ["shot 2"]]


def test_a_cancelled_caller_costs_nothing(toy: Toy, batcher: Batcher) -> None:
    held = hold(toy, batcher)
    unwanted = batcher.submit(text("unwanted"))
    assert unwanted.cancel()
    wanted = batcher.submit(text("wanted"))
    toy.gate.set()
    for future in held:
        future.result(10)
    np.testing.assert_array_equal(wanted.result(10).joint, vector("wanted"))
    with pytest.raises(CancelledError):
        unwanted.result(0)
    assert all(media.data != "unwanted" for batch in toy.batches for media in batch)


def test_close_finishes_what_waits_and_refuses_the_rest(toy: Toy) -> None:
    toy.batching = Batching(workers=1, max_batch=16)
    batcher = Batcher(toy)
    futures = [batcher.submit(text(f"w{n}")) for n in range(20)]
    batcher.close()
    for n, future in enumerate(futures):
        np.testing.assert_array_equal(future.result(0).joint, vector(f"w{n}"))
    with pytest.raises(NotAvailable, match="closed"):
        batcher.submit(text("late"))
