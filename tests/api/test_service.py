"""The service as a whole, over a real catalog and a tower small enough to reckon with."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import wave
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from api.config import Settings
from api.requests import SearchRequest, Term, Upload
from api.service import Service
from api.towers import Towers
from embed import registry
from embed.errors import (
    BadInput,
    Conflict,
    InvalidQuery,
    InvalidVector,
    MissingWeights,
    NotFound,
    Overloaded,
    SpaceMismatch,
    TooLarge,
    UnsupportedMedia,
    UnsupportedModality,
)
from embed.registry import Capabilities, Family
from embed.types import Batching, CharSpan, Media, Modality, Space, Span, Vectors, normalise
from index.collection import Collection

# Words and colours on three axes: a picture is its mean colour, a text the colours it names.
AXES = {"red": 0, "green": 1, "blue": 2}


class Colours:
    """Three numbers for three colours, and for pictures four native ones."""

    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    chunker = "lines"
    batching = Batching(workers=2, max_batch=16)
    image_side = 8

    def __init__(self, revision: str) -> None:
        self.space = Space(
            name="colours", revision=revision, preprocessing="1", precision="fp32", dim=3
        )
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.broken = False

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        assert media.modality is Modality.IMAGE or isinstance(media.data, str)
        lines = media.data.splitlines() if isinstance(media.data, str) else []
        if len(lines) < 2:
            yield None, media
            return
        start = 0
        for line in lines:
            yield CharSpan(start, start + len(line)), Media(Modality.TEXT, line)
            start += len(line) + 1

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> Media:
        return piece

    def run(self, _: Modality, batch: Sequence[Media]) -> Vectors:
        return self.embed(batch)

    def embed(self, batch: Sequence[Media]) -> Vectors:
        self.entered.release()
        assert self.gate.wait(60)
        self.calls.append(len(batch))
        if self.broken:
            raise RuntimeError("no light")
        joint = normalise(np.stack([self._joint(media) for media in batch]))
        if batch[0].modality is Modality.TEXT:
            return Vectors(self.space, joint)
        spread = [[*self._joint(media), 1.0] for media in batch]
        return Vectors(self.space, joint, normalise(np.array(spread)))

    def _joint(self, media: Media) -> np.ndarray:
        if isinstance(media.data, str):
            words = media.data.split()
            return np.array([0.01 + words.count(word) for word in AXES])
        return 0.01 + media.data.reshape(-1, 3).mean(axis=0)


class Colourist:
    """A service in the space `colours`, and its tower."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.revision = "1"
        self.described = 0
        self.lacking = False
        self.tower: Colours
        family = Family(form="colours", describe=self._describe, check=self._check, load=self._load)
        monkeypatch.setitem(registry._FAMILIES, "colours", family)
        self.open()

    def open(self) -> None:
        self.service = Service(Settings(home=self.home, cache=self.home / "cache", threads=2))

    def _describe(self, detail: str, _: object) -> Capabilities:
        self.described += 1
        return Capabilities(
            space=Colours(self.revision).space,
            summary="three colours",
            modalities=Colours.modalities,
            native_dims={Modality.IMAGE: 4},
            preprocessing="none",
            licence="none",
            source="this test",
        )

    def _check(self, detail: str, _: object) -> None:
        if self.lacking:
            raise MissingWeights(f"colours are missing: fetch them from {detail or 'here'}")

    def _load(self, detail: str, options: object) -> Colours:
        self.tower = Colours(self.revision)
        return self.tower

    def find(self, *terms: Term, **rest: object) -> list[str]:
        request = SearchRequest(terms=terms, collection="c", **rest)  # type: ignore[arg-type]
        return [str(hit.item.title) for hit in self.service.search(request).hits]


def words(text: str, weight: float = 1.0) -> Term:
    return Term(kind="text", value=text, weight=weight)


def photo(*rgb: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), rgb).save(buffer, "PNG")
    return buffer.getvalue()


def silence() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return buffer.getvalue()


IMAGES = frozenset({Modality.IMAGE})
TEXTS = frozenset({Modality.TEXT})


@pytest.fixture
def colourist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Colourist]:
    colourist = Colourist(tmp_path / "home", monkeypatch)
    colourist.service.create_collection("c", space="colours")
    yield colourist
    colourist.tower.gate.set()
    colourist.service.close()


@pytest.fixture
def stocked(colourist: Colourist) -> Colourist:
    outcomes = colourist.service.add_items(
        "c",
        [
            Upload(data=photo(250, 0, 0), name="red.png", id="red"),
            Upload(data=photo(0, 250, 0), name="green.png", id="green"),
            Upload(data=photo(200, 0, 200), name="purple.png", id="purple"),
            Upload(data=b"blue blue blue", name="blue.txt", id="blue"),
            Upload(data=b"red red\ngreen green", name="lines.txt", id="lines"),
        ],
    )
    assert [outcome.error for outcome in outcomes] == [None] * 5
    return colourist


def test_words_find_pictures(stocked: Colourist) -> None:
    assert stocked.find(words("green"), modalities=IMAGES, k=1) == ["green.png"]
    assert stocked.find(words("red"), modalities=IMAGES, k=2) == ["red.png", "purple.png"]


def test_a_picture_finds_texts_and_the_line_that_matched(stocked: Colourist) -> None:
    term = Term(kind="image", value=photo(0, 240, 0))
    request = SearchRequest(terms=(term,), collection="c", modalities=TEXTS, k=1)
    [hit] = stocked.service.search(request).hits
    assert (hit.item.id, hit.span, hit.text) == ("lines", CharSpan(8, 19), "green green")


def test_plus_and_minus(stocked: Colourist) -> None:
    both = (words("red"), words("blue"))
    assert stocked.find(*both, modalities=IMAGES, k=1) == ["purple.png"]
    minus = (Term(kind="image", value=photo(200, 0, 200)), words("red", -0.7))
    assert stocked.find(*minus, modalities=TEXTS, k=1) == ["blue.txt"]


def test_terms_that_cancel_out_are_refused(stocked: Colourist) -> None:
    with pytest.raises(InvalidQuery, match="cancel out"):
        stocked.find(words("red"), words("red", -1.0))


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), 1e300])
def test_a_weight_without_meaning_is_refused(stocked: Colourist, weight: float) -> None:
    with pytest.raises(InvalidQuery, match="weight"):
        stocked.find(words("red", weight))


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_words_are_refused(stocked: Colourist, text: str) -> None:
    with pytest.raises(InvalidQuery, match="empty"):
        stocked.find(words(text))
    with pytest.raises(InvalidQuery, match="empty"):
        stocked.find()


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_k_has_limits(stocked: Colourist, k: int) -> None:
    with pytest.raises(InvalidQuery, match="1 to 1000"):
        stocked.find(words("red"), k=k)


def test_an_item_finds_others_like_it_and_not_itself(stocked: Colourist) -> None:
    item = Term(kind="item", value="red")
    assert stocked.find(item, modalities=IMAGES) == ["purple.png", "green.png"]
    request = SearchRequest(terms=(item,), collection="c", modalities=IMAGES)
    scores = [hit.score for hit in stocked.service.search(request).hits]
    red, purple = (normalise(np.array([[*c, 1.0]])) for c in ([250, 0, 0], [200, 0, 200]))
    assert scores[0] == pytest.approx(float(red[0] @ purple[0]), abs=1e-3), "in the native space"


def test_an_unknown_item_is_named(stocked: Colourist) -> None:
    with pytest.raises(NotFound, match="nope"):
        stocked.find(Term(kind="item", value="nope"))


def test_a_vector_is_brought_to_unit_length_and_checked(stocked: Colourist) -> None:
    given = Term(kind="vector", value=np.array([0, 9, 0], np.float32))
    assert stocked.find(given, modalities=IMAGES, k=1) == ["green.png"]
    for bad in ([0, 1], [0, 0, 0], [np.nan, 0, 0]):
        with pytest.raises(InvalidVector):
            stocked.find(Term(kind="vector", value=np.array(bad, np.float32)))


def test_the_wrong_medium_is_refused_by_what_it_holds(stocked: Colourist, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModality, match="the audio of the query"):
        stocked.find(Term(kind="audio", value=silence()))
    with pytest.raises(UnsupportedMedia, match="the image of the query"):
        stocked.find(Term(kind="image", value=b"\0\1\2\3"))
    with pytest.raises(NotFound, match=r"nowhere\.jpg"):
        stocked.find(Term(kind="image", value=tmp_path / "nowhere.jpg"))


def test_min_score_drops_what_is_below(stocked: Colourist) -> None:
    found = stocked.find(words("green"), modalities=IMAGES, min_score=0.9)
    assert found == ["green.png"]


def test_vectors_come_when_asked_for(stocked: Colourist) -> None:
    request = SearchRequest(
        terms=(words("green"),),
        collection="c",
        modalities=IMAGES,
        k=1,
        include=frozenset({"vector"}),
    )
    [hit] = stocked.service.search(request).to_json()["hits"]
    np.testing.assert_allclose(hit["vector"], normalise(np.array([[0.01, 250.01, 0.01]]))[0])


def test_many_searches_are_embedded_together(stocked: Colourist) -> None:
    requests = [
        SearchRequest(terms=(words(word),), collection="c", modalities=IMAGES, k=1)
        for word in ("red", "green") * 8
    ]
    stocked.tower.calls.clear()
    answers = stocked.service.search_many(requests)
    assert [answer.hits[0].item.id for answer in answers] == ["red", "green"] * 8
    assert sum(stocked.tower.calls) == 16
    assert len(stocked.tower.calls) < 16


def test_embeddings_of_texts_and_of_mixtures(stocked: Colourist) -> None:
    inputs = [(words("red"),), (words("blue"), Term(kind="image", value=photo(0, 0, 99)))]
    result = stocked.service.embed("colours", inputs)
    np.testing.assert_allclose(result.vectors, [[1, 0, 0], [0, 0, 1]], atol=0.02)
    assert result.prompt_tokens == 2


def test_an_upload_keeps_its_bytes_until_nobody_has_them(stocked: Colourist) -> None:
    service, data = stocked.service, photo(250, 0, 0)
    [twin] = service.add_items("c", [Upload(data=data, name="twin.png")])
    assert twin.id is not None
    assert service.media("c", "red").path.read_bytes() == data
    assert service.media("c", "red").media_type == "image/png"
    service.delete_item("c", "red")
    assert service.media("c", twin.id).path.read_bytes() == data
    path = service.media("c", twin.id).path
    service.delete_item("c", twin.id)
    assert not path.exists()


def test_a_deleted_collection_takes_its_uploads_and_nothing_else(
    stocked: Colourist, tmp_path: Path
) -> None:
    service = stocked.service
    (tmp_path / "mine.txt").write_text("green")
    service.ingest([tmp_path / "mine.txt"], collection="c")
    blob = service.media("c", "blue").path
    service.delete_collection("c")
    assert not blob.exists()
    assert (tmp_path / "mine.txt").exists()
    with pytest.raises(NotFound, match="'c'"):
        service.collection("c")


def test_no_bytes_are_left_when_one_request_replaces_its_own_items(colourist: Colourist) -> None:
    uploads = [Upload(data=data, id="twice") for data in (b"red", b"green", b"blue")]
    colourist.service.add_items("c", uploads)
    kept = [path for path in (colourist.home / "blobs").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [b"blue"]


def test_an_upload_that_cannot_be_stored_leaves_no_bytes(
    colourist: Colourist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise Conflict("no")

    monkeypatch.setattr(Collection, "write", refuse)
    [outcome] = colourist.service.add_items("c", [Upload(data=b"red")])
    assert outcome.error is not None
    assert not [path for path in (colourist.home / "blobs").rglob("*") if path.is_file()]


def test_one_bad_upload_fails_alone(colourist: Colourist) -> None:
    uploads = [
        Upload(data=b"red", id="a"),
        Upload(data=b"\x89PNG\r\n\x1a\n and then nothing", id="b"),
        Upload(data=b"blue", id="c"),
    ]
    outcomes = colourist.service.add_items("c", uploads)
    assert [outcome.error and outcome.error.code for outcome in outcomes] == [
        None,
        "corrupt_media",
        None,
    ]
    assert {item.id for item in colourist.service.items("c")[0]} == {"a", "c"}


def test_an_upload_with_an_id_that_is_there_replaces_it(stocked: Colourist) -> None:
    before = stocked.service.media("c", "red").path
    stocked.service.add_items("c", [Upload(data=photo(0, 0, 250), id="red", name="blue.png")])
    assert not before.exists(), "nobody has these bytes any more"
    assert stocked.service.media("c", "red").path.read_bytes() == photo(0, 0, 250)
    assert stocked.find(words("blue"), modalities=IMAGES, k=1) == ["blue.png"]
    assert stocked.service.collection("c").counts == {Modality.IMAGE: 3, Modality.TEXT: 2}


def test_a_text_without_a_name_is_called_by_its_first_line(colourist: Colourist) -> None:
    colourist.service.add_items("c", [Upload(data=b"# red things\nred red", id="notes")])
    assert colourist.service.item("c", "notes").title == "red things"


def test_a_full_queue_stores_nothing_and_says_try_again(colourist: Colourist) -> None:
    service, tower = colourist.service, colourist.tower
    tower.gate.clear()
    batcher = service._towers.get("colours")
    held = []
    for _ in range(2):  # both workers wait at the gate, so the queue stays as it is
        held.append(batcher.submit(Media(Modality.TEXT, "red")))
        assert tower.entered.acquire(timeout=60)
    held += [batcher.submit(Media(Modality.TEXT, "red"), block=False) for _ in range(64)]
    with pytest.raises(Overloaded):
        service.add_items("c", [Upload(data=b"blue"), Upload(data=b"green")])
    with pytest.raises(Overloaded):
        service.search(SearchRequest(terms=(words("red"),), collection="c"))
    tower.gate.set()
    for future in held:
        future.result(10)
    assert service.items("c")[0] == []


def test_another_revision_of_the_space_is_refused(stocked: Colourist) -> None:
    stocked.service.close()
    stocked.revision = "2"
    stocked.open()
    with pytest.raises(SpaceMismatch, match="colours@"):
        stocked.find(words("red"))
    assert stocked.service.item("c", "red").title == "red.png", "what is stored can still be read"


def test_an_upload_tells_what_of_it_is_left_out(stocked: Colourist) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        film.metadata["title"] = "red green"
        film.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        film.mux(stream.encode(None))
    [taken] = stocked.service.add_items("c", [Upload(data=out.getvalue(), name="party.mp4")])
    assert taken.modality is Modality.TEXT
    assert list(taken.left_out) == [Modality.VIDEO]
    assert taken.left_out[Modality.VIDEO].startswith("party.mp4: the film is left out")
    with pytest.raises(BadInput, match="given as video, which this space lacks; pass it as text"):
        stocked.find(Term(kind="video", value=out.getvalue()))
    with pytest.raises(BadInput, match="given as audio, and holds text; pass it as text"):
        stocked.find(Term(kind="audio", value=out.getvalue()))


def test_another_space_for_an_old_collection_is_refused(stocked: Colourist, tmp_path: Path) -> None:
    with pytest.raises(SpaceMismatch, match="'colours', not 'builtin'"):
        stocked.service.ingest([tmp_path], collection="c", space="builtin")
    with pytest.raises(Conflict, match="'c'"):
        stocked.service.create_collection("c", space="colours")


def test_a_space_written_in_another_way_is_the_same(stocked: Colourist, tmp_path: Path) -> None:
    # As a relative path is: the space that it describes has the absolute one.
    (tmp_path / "more").mkdir()
    stocked.service.ingest([tmp_path / "more"], collection="c", space="colours:./here")


def test_health_tells_the_truth(stocked: Colourist) -> None:
    assert stocked.service.health().ready
    stocked.tower.broken = True
    with pytest.raises(Exception, match="no light"):
        stocked.find(words("red"))
    health = stocked.service.health()
    assert not health.ready
    assert "no light" in health.reasons[0]
    stocked.tower.broken = False
    stocked.find(words("red"))
    assert stocked.service.health().ready


def test_a_preview_is_small_and_only_of_pictures(stocked: Colourist) -> None:
    big = io.BytesIO()
    Image.new("RGB", (400, 200), (250, 0, 0)).save(big, "JPEG")
    [outcome] = stocked.service.add_items("c", [Upload(data=big.getvalue())])
    assert outcome.id is not None
    preview = stocked.service.preview("c", outcome.id, side=100)
    assert Image.open(io.BytesIO(preview)).size == (100, 50)
    with pytest.raises(UnsupportedModality, match="text"):
        stocked.service.preview("c", "blue")


def test_a_file_that_left_is_told_from_one_that_never_was(
    stocked: Colourist, tmp_path: Path
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("green")
    stocked.service.ingest([path], collection="c")
    [item] = [item for item in stocked.service.items("c")[0] if item.uri]
    assert item.digest == hashlib.sha256(b"green").hexdigest()
    path.unlink()
    with pytest.raises(NotFound, match="moved, deleted or replaced"):
        stocked.service.media("c", item.id)


def test_a_pipe_in_the_place_of_a_file_hangs_nobody(stocked: Colourist, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("green")
    stocked.service.ingest([path], collection="c")
    [item] = [item for item in stocked.service.items("c")[0] if item.uri]
    before = stocked.service.media("c", item.id).version
    path.write_text("green!")
    assert stocked.service.media("c", item.id).version != before
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NotFound, match=r"named pipe.*replaced"):
        stocked.service.media("c", item.id)


def test_a_question_has_an_end(stocked: Colourist) -> None:
    with pytest.raises(TooLarge, match="32,768"):
        stocked.find(words("red " * 9000))


def test_models_say_what_they_are(stocked: Colourist) -> None:
    by_name = {model.name: model for model in stocked.service.models()}
    assert by_name["colours"].state == "loaded"
    assert by_name["builtin"].state == "ready"
    assert by_name["builtin"].to_json()["dim"] == 384


def test_what_first_use_would_download_is_not_called_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = registry.describe("builtin", Towers(settings).options)
    monkeypatch.setattr(registry, "describe", lambda *_: replace(here, fetches=True))
    assert Towers(settings).summary("builtin").state == "unfetched"
