"""Readers of public benchmarks, in the shapes in which they are published.

Each says whose shape it reads. Nothing is fetched: the files, and the pictures beside them, are the
caller's. What answers a question in a collection is told by names (`rag.evaluate.outcomes.names`):
the benchmark's own ids match items that were uploaded under them or files that are called so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from embed.errors import BadInput, NotFound
from embed.media.source import shown
from embed.types import Modality
from rag.evaluate.questions import Question, Shown, collected, ours
from rag.evaluate.rows import Row, document, rows

LETTERS = "ABCD"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def mrag_bench(path: Path) -> Iterator[Question]:
    """MRAG-Bench (Hu et al. 2024; the card of uclanlp/MRAG-Bench): rows of `id`, `question`,
    `image`, `A` to `D`, `answer_choice`, `answer` and `gt_images`, as Parquet or as JSON lines
    with paths. A picture within a table is known by the digest of its bytes."""
    for row in rows(path):
        choices = tuple(row.text(letter) for letter in LETTERS)
        right = row.text("answer_choice")
        if right not in LETTERS:
            raise row.error(f"has the answer_choice {right!r}; A to D are there")
        yield Question(
            id=row.text("id"),
            words=row.text("question"),
            media=(Shown("image", row.medium("image")),),
            answers=(choices[LETTERS.index(right)],),
            answerable=True,
            choices=choices,
            relevant=tuple(_picture(row, one) for one in row.fields.get("gt_images") or ()),
            modality=Modality.IMAGE,
        )


def mme(folder: Path) -> Iterator[Question]:
    """MME (Fu et al. 2023): a folder for each subtask, in it a picture and a `.txt` of the same
    name with two lines "question<TAB>Yes or No"; or the pictures in `images`, the texts in
    `questions_answers_YN`. The two of a picture are a group: acc+ is the share of groups that are
    all right."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {shown(folder)}")
    for told in sorted([*folder.glob("*/*.txt"), *folder.glob("*/questions_answers_YN/*.txt")]):
        apart = told.parent.name == "questions_answers_YN"
        pictures = told.parent.parent / "images" if apart else told.parent
        subtask = told.parent.parent.name if apart else told.parent.name
        files = [file for end in PICTURES if (file := pictures / f"{told.stem}{end}").is_file()]
        if not files:
            raise BadInput(f"{shown(told)} asks about a picture {told.stem} that is not there")
        lines = told.read_text(encoding="utf-8-sig").split("\n")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _mme(f"{subtask}/{told.stem}", files[0], f"{shown(told)} line {number}", line)


def _mme(group: str, picture: Path, where: str, line: str) -> Question:
    words, _, answer = line.rpartition("\t")
    if not words.strip() or answer.strip().lower() not in ("yes", "no"):
        raise BadInput(f"{where} is no question, a tab, and Yes or No")
    return Question(
        id=f"{group} {where.rpartition(' ')[2]}",
        words=words.strip(),
        media=(Shown("image", picture),),
        answers=(answer.strip().lower(),),
        answerable=True,
        choices=("yes", "no"),
        group=group,
    )


def llava_bench(path: Path) -> Iterator[Question]:
    """LLaVA-Bench in the Wild (Liu et al. 2023): `questions.jsonl` of `question_id`, `image`,
    `category` and `text`, pictures in `images`, and references of the same ids in
    `answers_gpt4.jsonl`. Only a judge that reads says whether an answer is right."""
    answers = path.with_name("answers_gpt4.jsonl")
    told = rows(answers) if answers.exists() else ()
    known = {row.text("question_id"): row.text("text") for row in told}
    for row in rows(path):
        near = Row(row.where, row.fields, path.parent / "images")
        yield Question(
            id=row.text("question_id"),
            words=row.text("text"),
            media=(Shown("image", near.medium("image")),),
            answerable=True,
            reference=known.get(row.text("question_id")),
        )


def scienceqa(path: Path) -> Iterator[Question]:
    """ScienceQA (Lu et al. 2022), and what has its shape: `problems.json`, an object of problems by
    id, or rows with an `id`, of `question`, `choices`, `answer` (the place of the right one, from
    0), perhaps `hint`, `image` and `split`. Pictures lie in `images/SPLIT/ID`, or where `image`
    says."""
    for row in _problems(path):
        choices = row.texts("choices")
        place = row.fields.get("answer")
        if not isinstance(place, int) or not 0 <= place < len(choices):
            raise row.error(f"has the answer {place!r}; a place among {len(choices)} is wanted")
        hint = row.fields.get("hint") or ""
        yield Question(
            id=row.text("id"),
            words="\n".join(filter(None, (hint, row.text("question")))),
            media=(_of_problem(row),) if row.fields.get("image") else (),
            answers=(choices[place],),
            answerable=True,
            choices=choices,
        )


def _problems(path: Path) -> Iterator[Row]:
    problems = document(path) if path.suffix == ".json" else None
    if not isinstance(problems, dict):
        yield from (
            Row(row.where, {"id": f"{number}", **row.fields}, row.folder)
            for number, row in enumerate(rows(path))
        )
        return
    for key, fields in problems.items():
        if not isinstance(fields, dict):
            raise BadInput(f"{shown(path)} problem {key} is no object")
        yield Row(f"{shown(path)} problem {key}", {**fields, "id": key}, path.parent)


def _of_problem(row: Row) -> Shown:
    name, split = row.fields["image"], row.fields.get("split", "")
    apart = row.folder / "images" / str(split) / row.text("id")
    if isinstance(name, str) and (apart / name).is_file():
        return Shown("image", apart / name)
    return Shown("image", row.medium("image"))


def webqa(path: Path) -> Iterator[Question]:
    """WebQA (Chang et al. 2022): an object of questions by guid, each with `Q`, `A` (a list),
    `txt_posFacts` of `snippet_id` and `img_posFacts` of `image_id`, and the `split`. Questions and
    answers come within quotes."""
    questions = document(path)
    if not isinstance(questions, dict):
        raise BadInput(f"{shown(path)} is no object of questions by guid")
    for guid, fields in questions.items():
        if not isinstance(fields, dict):
            raise BadInput(f"{shown(path)} question {guid} is no object")
        row = Row(f"{shown(path)} question {guid}", fields, path.parent)
        texts = [fact.text("snippet_id") for fact in row.rows("txt_posFacts")]
        pictures = [fact.text("image_id") for fact in row.rows("img_posFacts")]
        answers = tuple(filter(None, (answer.strip('" ') for answer in row.texts("A"))))
        yield Question(
            id=guid,
            words=row.text("Q").strip('" '),
            answers=answers,
            answerable=True if answers else None,
            relevant=(*texts, *pictures),
            modality=_only({Modality.TEXT: texts, Modality.IMAGE: pictures}),
        )


def mmqa(path: Path) -> Iterator[Question]:
    """MultiModalQA (Talmor et al. 2021): JSON lines (.gz too) of `qid`, `question`, `answers` (each
    with `answer`) and `supporting_context` (each with `doc_id` and `doc_part`: text, table or
    image). Tables are read as texts."""
    for row in rows(path):
        answers = tuple(_answer(row, one) for one in row.rows("answers"))
        context = row.rows("supporting_context")
        parts = {one.text("doc_id"): one.text("doc_part") for one in context}
        pictures = [name for name, part in parts.items() if part == "image"]
        yield Question(
            id=row.text("qid"),
            words=row.text("question"),
            answers=answers,
            answerable=True if answers else None,
            relevant=tuple(parts),
            modality=_only(
                {
                    Modality.TEXT: [name for name in parts if name not in pictures],
                    Modality.IMAGE: pictures,
                }
            ),
        )


def _answer(row: Row, one: Row) -> str:
    value = one.fields.get("answer")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(f"has the answer {value!r}; words or a number are wanted")
    return str(value)


def _only(by_modality: Mapping[Modality, list[str]]) -> Modality | None:
    """The one modality of what is relevant; None where there are several, or none."""
    held = [modality for modality, names in by_modality.items() if names]
    return held[0] if len(held) == 1 else None


def _picture(row: Row, one: Any) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, dict) and isinstance(one.get("bytes"), bytes):
        return sha256(one["bytes"]).hexdigest()
    raise row.error(f"has a picture {one!r}; a path, or its bytes, are wanted")


FORMATS: Mapping[str, Callable[[Path], Iterator[Question] | list[Question]]] = {
    "questions": ours,
    "mrag-bench": mrag_bench,
    "mme": mme,
    "llava-bench": llava_bench,
    "scienceqa": scienceqa,
    "webqa": webqa,
    "mmqa": mmqa,
}


def read(path: Path, form: str = "questions") -> list[Question]:
    """The questions of a file or folder, each id once.

    Raises NotFound, BadInput with the line at fault, also for an unknown format.
    """
    if form not in FORMATS:
        raise BadInput(f"no format is called {form!r}; the choices are {', '.join(FORMATS)}")
    return collected(path, FORMATS[form])
