from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from embed.errors import BadInput, CorruptMedia, MissingWeights
from embed.registry import LoadOptions
from embed.training.data.folders import Folder
from embed.training.examples import held_out, identity
from embed.training.feed import Batches, near
from embed.training.parts import part_specs
from embed.training.student import Limbs
from embed.training.types import Batch, Record
from embed.types import Media, Modality

IMAGE, TEXT, IMU = Modality.IMAGE, Modality.TEXT, Modality.IMU


class Things:
    """Record i: two captions, and a sample of its number unless it lacks one."""

    failures: Sequence[str] = ()

    def __init__(self, count: int, broken: Sequence[int] = (), bare: Sequence[int] = ()) -> None:
        self.count = count
        self.broken = broken
        self.bare = bare
        self.reads = Counter[int]()

    def __len__(self) -> int:
        return self.count

    def id(self, i: int) -> str:
        return f"thing-{i}"

    def __getitem__(self, i: int) -> Record:
        self.reads[i] += 1
        if i in self.broken:
            raise CorruptMedia(f"thing-{i} is torn")
        media = {TEXT: [Media(TEXT, f"{i} is one"), Media(TEXT, f"{i} is another")]}
        if i not in self.bare:
            media[IMU] = [Media(IMU, np.full(3, i, np.float32))]
        return Record(f"thing-{i}", media)


class Plain:
    def prepare(self, medium: Media, *, seed: int | None) -> Any:
        if isinstance(medium.data, str):
            return medium.data
        return np.concatenate([medium.data, [seed or 0]])

    def collate(self, modality: Modality, prepared: Sequence[Any]) -> tuple[Tensor, ...]:
        if modality is TEXT:
            return (torch.tensor([[int(text.split()[0]), len(text)] for text in prepared]),)
        return (torch.from_numpy(np.stack(prepared)),)


class Gone(Plain):
    def prepare(self, medium: Media, *, seed: int | None) -> Any:
        raise MissingWeights("the tower is gone")


def batches_of(source: Things, *, batch: int = 4, **options: Any) -> Batches:
    return Batches(source, Plain(), {TEXT, IMU}, **{"batch": batch, "seed": 3} | options)


def first(feed: Batches, count: int, start: int = 0) -> list[Batch]:
    return list(islice(feed.batches(start=start), count))


def same(a: Batch, b: Batch) -> bool:
    return list(a.ids) == list(b.ids) and all(
        torch.equal(x, y)
        for one, other in ((a.inputs, b.inputs),)
        for m in one
        for x, y in zip(one[m], other[m], strict=True)
    )


def test_an_epoch_has_every_record_once_and_another_order_each_time() -> None:
    feed = batches_of(Things(18))
    assert feed.per_epoch == 4
    epochs = [[i for b in first(feed, 4, start=4 * e) for i in b.ids] for e in (0, 1)]
    for ids in epochs:
        assert len(set(ids)) == len(ids) == 16  # two wait for the next epoch
    assert epochs[0] != epochs[1]
    other = Batches(Things(18), Plain(), {TEXT, IMU}, batch=4, seed=4)
    assert list(first(other, 1)[0].ids) != epochs[0][:4]


def test_any_number_on_gives_what_the_whole_gives() -> None:
    whole = first(batches_of(Things(18)), 9)
    assert all(map(same, first(batches_of(Things(18)), 4, start=5), whole[5:]))


def test_a_caption_and_a_seed_are_drawn_each_epoch() -> None:
    feed = batches_of(Things(8), batch=8)
    captions, seeds = set(), set()
    for batch in first(feed, 12):
        row = list(batch.ids).index("thing-5")
        captions.add(int(batch.inputs[TEXT][0][row, 1]))
        seeds.add(float(batch.inputs[IMU][0][row, 3]))
    assert captions == {len("5 is one"), len("5 is another")}
    assert len(seeds) == 12
    plain = first(batches_of(Things(8), batch=8, augment=False), 1)[0]
    assert float(plain.inputs[IMU][0][0, 3]) == 0


def test_rows_say_whose_media_these_are() -> None:
    batch = first(batches_of(Things(4, bare=[1, 2])), 1)[0]
    numbers = [int(id_.removeprefix("thing-")) for id_ in batch.ids]
    having = [row for row, number in enumerate(numbers) if number not in (1, 2)]
    assert batch.rows[TEXT].tolist() == [0, 1, 2, 3]
    assert batch.rows[IMU].tolist() == having
    assert batch.inputs[IMU][0][:, 0].tolist() == [numbers[row] for row in having]


def test_a_broken_record_is_reported_once_and_another_stands_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed, again = (batches_of(Things(16, broken=[3, 9])) for _ in range(2))
    found = first(feed, 12)
    assert all(len(set(batch.ids)) == 4 for batch in found)
    assert not {"thing-3", "thing-9"} & {id_ for batch in found for id_ in batch.ids}
    assert feed.failures == {3: "thing-3 is torn", 9: "thing-9 is torn"}
    assert [record.getMessage() for record in caplog.records].count(
        "record 3 is left out: thing-3 is torn"
    ) == 1
    assert all(map(same, first(again, 5, start=7), found[7:]))
    whole = first(batches_of(Things(16)), 4)
    kept = [
        (a, b)
        for x, y in zip(found[:4], whole, strict=True)
        for a, b in zip(x.ids, y.ids, strict=True)
    ]
    assert sum(a != b for a, b in kept) == 2  # all others keep their places


def test_a_source_of_broken_records_ends_the_run() -> None:
    with pytest.raises(
        CorruptMedia, match="100 records in a row cannot be read, the last for this: thing-"
    ):
        first(batches_of(Things(200, broken=range(200))), 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tower_that_cannot_be_opened_is_no_record_s_fault(workers: int) -> None:
    feed = Batches(Things(8), Gone(), {TEXT, IMU}, batch=4, seed=3, workers=workers)
    with pytest.raises(MissingWeights, match=r"^the tower is gone$"):
        first(feed, 1)
    assert not feed.failures
    with pytest.raises(MissingWeights, match="the tower is gone"):
        held_out(Things(2), Gone(), {TEXT, IMU})


def test_processes_share_a_batch_between_them() -> None:
    whole = first(batches_of(Things(18, broken=[2, 7])), 6)
    halves = [first(batches_of(Things(18, broken=[2, 7]), slice_of=(r, 2)), 6) for r in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert list(batch.ids) == [id_ for part in parts for id_ in part.ids]
        assert torch.equal(
            batch.inputs[TEXT][0], torch.cat([part.inputs[TEXT][0] for part in parts])
        )
    with pytest.raises(BadInput, match="batch is 4 and 3 processes"):
        batches_of(Things(18), slice_of=(0, 3))


def test_what_is_cached_is_read_once_and_changes_nothing() -> None:
    source, plain = Things(8, broken=[1]), Things(8, broken=[1])
    cached = first(batches_of(source, augment=False, cache=1 << 20), 10)
    assert all(map(same, cached, first(batches_of(plain, augment=False), 10)))
    assert set(source.reads.values()) == {1}
    small = Things(8)
    first(batches_of(small, augment=False, cache=3 * (2 * 64 + 32)), 10)
    assert sorted(small.reads.values())[:3] == [1, 1, 1]
    assert small.reads.most_common(1)[0][1] > 2  # what has no room is read again


def test_near_records_come_in_one_batch_and_every_record_once() -> None:
    class Twins:
        def neighbours(self, ids: Sequence[str], k: int) -> Sequence[Sequence[str]]:
            numbers = [int(id_.removeprefix("thing-")) for id_ in ids]
            return [[f"thing-{n ^ 1}", "a stranger"][:k] for n in numbers]

    source = Things(16)
    neighbours = near(source, Twins(), 2)
    assert neighbours[6].tolist() == [7, -1]
    found = first(batches_of(source, neighbours=neighbours), 4)
    assert len({id_ for batch in found for id_ in batch.ids}) == 16
    for batch in found:
        numbers = {int(id_.removeprefix("thing-")) for id_ in batch.ids}
        assert {n ^ 1 for n in numbers} == numbers


def test_equal_media_share_a_number_and_others_do_not() -> None:
    def text(words: str) -> Media:
        return Media(TEXT, words)

    assert identity(text("a cat"), "1") == identity(text("a cat"), "2")
    assert identity(text("a cat"), "1") != identity(text("a dog"), "1")
    zeros = [Media(IMU, np.zeros(shape, np.float32)) for shape in (6, (2, 3), (3, 2))]
    assert len({identity(medium, "1") for medium in zeros}) == 3
    sounds = [Media(Modality.AUDIO, np.zeros(6, np.float32), rate=rate) for rate in (8000, 16000)]
    assert len({identity(medium, "1") for medium in sounds}) == 2
    assert all(0 <= identity(text(str(n)), "") < 2**63 for n in range(64))


def test_too_few_records_are_refused() -> None:
    with pytest.raises(BadInput, match="batch is 4 and there are 3 records"):
        batches_of(Things(3))


def test_a_record_with_nothing_for_the_student_is_left_out() -> None:
    feed = Batches(Things(8, bare=[0]), Plain(), {IMU}, batch=4, seed=0)
    first(feed, 2)
    assert feed.failures == {0: "thing-0 has text; the student takes imu"}


def test_held_out_records_come_in_order_and_plain() -> None:
    found = held_out(Things(70, broken=[2]), Plain(), {TEXT, IMU})
    assert [len(batch.ids) for batch in found] == [64, 5]
    assert list(found[0].ids)[:3] == ["thing-0", "thing-1", "thing-3"]
    assert float(found[0].inputs[IMU][0][:, 3].sum()) == 0


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    """Pictures beside captions, one of them torn: the same batches, the same one report."""
    rng = np.random.default_rng(0)
    for n in range(8):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / f"{n}.png")
        (tmp_path / f"{n}.txt").write_text(f"one {n}\nanother {n}")
    (tmp_path / "5.png").write_bytes((tmp_path / "5.png").read_bytes()[:60])
    student = Limbs.of(
        part_specs(
            {"image": {"network": "convnet", "side": 16, "width": 8, "crop": 0.5}, "text": WORDS}
        ),
        8,
        LoadOptions(cache=tmp_path, threads=1),
        captions=["one another 0 1 2 3 4 5 6 7"],
    )

    def feed(workers: int) -> Batches:
        return Batches(
            Folder(path=tmp_path),
            student.preparer,
            student.modalities,
            batch=3,
            seed=1,
            workers=workers,
        )

    alone, helped = feed(0), feed(2)
    assert all(map(same, first(alone, 7), first(helped, 7)))
    assert alone.failures == helped.failures
    assert len(alone.failures) == 1


WORDS = {"network": "words", "width": 8, "depth": 1, "heads": 1, "tokens": 8}
