"""Questions from files: our own lines, and public benchmarks in their published shapes."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.errors import BadInput, CrossbindError, NotFound
from embed.types import Modality
from rag.evaluate.formats import FORMATS, read
from rag.evaluate.questions import Lack, Said, Shown

PNG = b"\x89PNG not a real one"


def lines(path: Path, *entries: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)
    return path


# Our own


def test_our_own_lines_say_all_that_is_known_of_a_question(tmp_path: Path) -> None:
    photo = picture(tmp_path / "media" / "a.png")
    data = lines(
        tmp_path / "q.jsonl",
        {
            "id": 7,
            "question": "what is it?",
            "image": "media/a.png",
            "item": "abc",
            "history": [{"role": "user", "text": "hello"}],
            "answers": ["a dress"],
            "choices": ["a dress", "a hat"],
            "relevant": ["dress.jpg"],
            "modality": "image",
            "completions": [{"record": "r", "modality": "text", "values": ["red"]}],
            "forbidden": ["PWNED"],
            "group": "g",
        },
        {"id": "b", "question": "who is king?", "answers": None},
        {"id": "c", "question": "tell me\u2028more"},
    )
    whole, nothing, unknown = read(data)
    assert whole.id == "7"
    assert whole.media == (Shown("image", photo), Shown("item", "abc"))
    assert whole.history == (Said("user", "hello"),)
    assert (whole.answers, whole.answerable) == (("a dress",), True)
    assert whole.lacks == (Lack("r", Modality.TEXT, ("red",)),)
    assert (whole.modality, whole.forbidden, whole.group) == (Modality.IMAGE, ("PWNED",), "g")
    assert (nothing.answers, nothing.answerable) == ((), False)
    assert unknown.answerable is None


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("no json", "is no JSON"),
        ("[1]", "is no JSON object"),
        ({"id": "b", "question": "q", "answer": "x"}, "has a field 'answer'; the fields are"),
        ({"question": "q"}, "has no 'id'"),
        ({"id": "b"}, "asks nothing"),
        ({"id": "b", "question": " "}, "has no 'question'"),
        ({"id": "b", "question": "q", "answers": "x"}, "a list of words is wanted"),
        ({"id": "b", "question": "q", "answers": [""]}, "a list of words is wanted"),
        ({"id": "b", "question": "q", "image": "gone.png"}, "gone.png, which is not there"),
        ({"id": "b", "question": "q", "modality": "smell"}, "the modalities are text, image"),
        ({"id": "b", "question": "q", "history": [{"role": "tool", "text": "x"}]}, "'tool'"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(
    tmp_path: Path, entry: Any, told: str
) -> None:
    good = json.dumps({"id": "a", "question": "q"})
    bad = entry if isinstance(entry, str) else json.dumps(entry)
    data = tmp_path / "q.jsonl"
    data.write_text(f"{good}\n\n{bad}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"q\.jsonl line 3 ") as raised:
        read(data)
    assert told in raised.value.message


def test_two_questions_of_one_id_and_files_without_any_are_refused(tmp_path: Path) -> None:
    twice = lines(tmp_path / "t.jsonl", *[{"id": "a", "question": "q"}] * 2)
    with pytest.raises(BadInput, match="two questions have the id 'a'"):
        read(twice)
    with pytest.raises(BadInput, match="holds no question"):
        read(lines(tmp_path / "e.jsonl"))
    with pytest.raises(BadInput, match="the choices are questions, mrag-bench"):
        read(twice, "csv")


# Public ones


def test_mrag_bench_as_json_lines_and_as_the_table_that_is_published(tmp_path: Path) -> None:
    row = {"id": "1", "aspect": "angle", "scenario": "Angle", "question": "What car is this?"}
    row |= dict(zip("ABCD", ("audi", "bmw", "fiat", "seat"), strict=True))
    row |= {"answer_choice": "B", "answer": "bmw", "image_type": "cars", "source": "web"}
    picture(tmp_path / "car.jpg")
    with_paths = {**row, "image": "car.jpg", "gt_images": ["bmw_1.jpg", "bmw_2.jpg"]}
    [question] = read(lines(tmp_path / "m.jsonl", with_paths), "mrag-bench")
    assert question.answers == ("bmw",)
    assert question.choices == ("audi", "bmw", "fiat", "seat")
    assert question.media == (Shown("image", tmp_path / "car.jpg"),)
    assert question.relevant == ("bmw_1.jpg", "bmw_2.jpg")
    kept = {"bytes": PNG, "path": None}
    table = pa.Table.from_pylist([{**row, "image": kept, "gt_images": [kept]}])
    pq.write_table(table, tmp_path / "test.parquet")
    [question] = read(tmp_path / "test.parquet", "mrag-bench")
    assert question.media == (Shown("image", PNG),)
    assert question.relevant == (sha256(PNG).hexdigest(),)
    with pytest.raises(BadInput, match="line 1 has the answer_choice 'E'"):
        read(lines(tmp_path / "e.jsonl", {**with_paths, "answer_choice": "E"}), "mrag-bench")


def test_mme_pairs_in_both_layouts(tmp_path: Path) -> None:
    picture(tmp_path / "OCR" / "0001.png")
    asked = "Is it a logo? Please answer yes or no."
    (tmp_path / "OCR" / "0001.txt").write_text(f"{asked}\tYes\nIs it a dog?\tNo\n\n")
    picture(tmp_path / "scene" / "images" / "2.jpg")
    apart = tmp_path / "scene" / "questions_answers_YN"
    apart.mkdir()
    (apart / "2.txt").write_text("Is it a pier?\tYes\nIs it a cave?\tNo\n")
    questions = read(tmp_path, "mme")
    assert [q.answers for q in questions] == [("yes",), ("no",)] * 2
    assert [q.group for q in questions] == ["OCR/0001"] * 2 + ["scene/2"] * 2
    assert questions[0].words == asked
    assert questions[2].media == (Shown("image", tmp_path / "scene" / "images" / "2.jpg"),)
    (apart / "2.txt").write_text("Is it a pier? Yes\n")
    with pytest.raises(BadInput, match=r"2\.txt line 1 is no question, a tab, and Yes or No"):
        read(tmp_path, "mme")
    (apart / "3.txt").write_text("Is it?\tYes\n")
    (apart / "2.txt").unlink()
    with pytest.raises(BadInput, match="a picture 3 that is not there"):
        read(tmp_path, "mme")


def test_llava_bench_with_its_references(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "001.jpg")
    row = {"question_id": 0, "image": "001.jpg", "category": "conv", "text": "What is this?"}
    told = {"question_id": 0, "prompt": "What is this?", "text": "A crater.", "category": "conv"}
    data = lines(tmp_path / "questions.jsonl", row)
    lines(tmp_path / "answers_gpt4.jsonl", told)
    [question] = read(data, "llava-bench")
    assert (question.id, question.reference, question.answers) == ("0", "A crater.", ())
    assert question.media == (Shown("image", tmp_path / "images" / "001.jpg"),)


def test_scienceqa_problems_and_rows_of_their_shape(tmp_path: Path) -> None:
    shape = {"question": "Which is north?", "choices": ["Ohio", "Utah"], "answer": 1, "hint": ""}
    problem = {**shape, "image": "image.png", "split": "test", "hint": "Look at the map."}
    there = picture(tmp_path / "images" / "test" / "12" / "image.png")
    whole = tmp_path / "problems.json"
    whole.write_text(json.dumps({"12": problem, "13": {**shape, "image": None}}))
    seen, told = read(whole, "scienceqa")
    assert (seen.id, seen.answers) == ("12", ("Utah",))
    assert seen.words == "Look at the map.\nWhich is north?"
    assert seen.media == (Shown("image", there),)
    assert (told.media, told.words) == ((), "Which is north?")
    [first, second] = read(lines(tmp_path / "p.jsonl", shape, shape), "scienceqa")
    assert (first.id, second.id) == ("0", "1")
    with pytest.raises(BadInput, match="line 1 has the answer 2; a place among 2"):
        read(lines(tmp_path / "b.jsonl", {**shape, "answer": 2}), "scienceqa")


def test_webqa_without_its_quotes(tmp_path: Path) -> None:
    fact = {"title": "t", "fact": "f", "url": "u", "snippet_id": "d5_0"}
    image = {"image_id": 30012345, "title": "t", "caption": "c", "url": "u", "imgUrl": "i"}
    either = {"Q": '"Is it red?"', "A": ['"Yes, it is red."'], "Guid": "g", "split": "val"}
    data = tmp_path / "WebQA_train_val.json"
    questions = {
        "g": {**either, "img_posFacts": [image], "txt_posFacts": []},
        "h": {**either, "img_posFacts": [image], "txt_posFacts": [fact]},
    }
    data.write_text(json.dumps(questions))
    seen, mixed = read(data, "webqa")
    assert (seen.words, seen.answers) == ("Is it red?", ("Yes, it is red.",))
    assert (seen.relevant, seen.modality) == (("30012345",), Modality.IMAGE)
    assert (mixed.relevant, mixed.modality) == (("d5_0", "30012345"), None)


def test_mmqa_compressed_with_answers_that_are_numbers(tmp_path: Path) -> None:
    context = [{"doc_id": "t1", "doc_part": "table"}, {"doc_id": "t2", "doc_part": "text"}]
    answer = {"answer": 3, "type": "string", "modality": "table"}
    row = {"qid": "q", "question": "how many?", "answers": [answer], "metadata": {}}
    data = tmp_path / "MMQA_dev.jsonl.gz"
    data.write_bytes(gzip.compress(json.dumps({**row, "supporting_context": context}).encode()))
    [question] = read(data, "mmqa")
    assert (question.answers, question.relevant) == (("3",), ("t1", "t2"))
    assert question.modality is Modality.TEXT


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_there_or_is_something_else_is_told(tmp_path: Path, form: str) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "gone.jsonl", form)
    other = tmp_path / "other.jsonl"
    other.write_bytes(b"\xff\xfe\x00 no text")
    with pytest.raises(CrossbindError, match="other"):
        read(other, form)
