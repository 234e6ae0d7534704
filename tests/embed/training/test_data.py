"""Sources: what of a disk becomes which record, what is refused, what is left out."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.errors import BadInput, CorruptMedia, CrossbindError, NotFound, UnsupportedMedia
from embed.training.data.source import Source, open_source
from embed.training.data.tars import expanded
from embed.training.types import Record
from embed.types import Modality, Sound


def picture(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def tone() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(np.arange(0, 8000, dtype=np.int16).tobytes())
    return file.getvalue()


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def archive(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def texts(record: Record) -> list[object]:
    return [medium.data for medium in record.media.get(Modality.TEXT, ())]


def ids(source: Source) -> list[str]:
    found = [source.id(i) for i in range(len(source))]
    assert found == [source[i].id for i in range(len(source))]
    return found


def shade(record: Record) -> int:
    [medium] = record.media[Modality.IMAGE]
    assert isinstance(medium.data, np.ndarray)
    assert medium.data.shape == (20, 30, 3)
    return int(medium.data[0, 0, 0])


# Folders


def test_class_folders_caption_what_lies_in_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "rocking_chair/b.png": picture(7),
            "n01/deep/a.png": picture(9),
            "n01/.hidden.png": picture(),
            "readme.txt": "not a class",
        },
    )
    source = open_source(
        {
            "kind": "classes",
            "path": str(tmp_path),
            "names": {"n01": "tench"},
            "templates": ["a photo of a {}", "{}"],
        }
    )
    assert isinstance(source, Source)
    assert ids(source) == ["n01/deep/a.png", "rocking_chair/b.png"]
    assert texts(source[0]) == ["a photo of a tench", "tench"]
    assert texts(source[1]) == ["a photo of a rocking chair", "rocking chair"]
    assert [shade(source[0]), shade(source[1])] == [9, 7]
    with pytest.raises(IndexError):
        source[2]


def test_files_beside_their_captions_are_one_record(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.png": picture(1),
            "a.wav": tone(),
            "a.txt": "one caption\n\n another \n",
            "sub/b.png": picture(2),
            "sub/b.png.json": json.dumps({"caption": "of b", "width": 30}),
            "c.json": '["about nothing"]',
            "d.1.png": picture(3),
            "d.1.txt": "dots in names",
        },
    )
    source = open_source({"kind": "folder", "path": str(tmp_path)})
    assert ids(source) == ["a", "d.1", "sub/b"]
    whole = source[0]
    assert texts(whole) == ["one caption", "another"]
    assert isinstance(whole.media[Modality.AUDIO][0].data, Sound)
    assert shade(whole) == 1
    assert texts(source[1]) == ["dots in names"]
    assert texts(source[2]) == ["of b"]
    assert [failure.endswith("c.json is about no file beside it") for failure in source.failures]
    deaf = open_source({"kind": "folder", "path": str(tmp_path), "modalities": ["text", "image"]})
    assert set(deaf[0].media) == {Modality.TEXT, Modality.IMAGE}
    assert texts(pickle.loads(pickle.dumps(source))[0]) == texts(whole)


def test_a_corrupt_record_says_which_and_the_others_stay(tmp_path: Path) -> None:
    files = {"good.png": picture(5), "cut.png": picture()[:45], "odd.bin": b"\x00\x01\x02"}
    write(tmp_path, {**files, "good.txt": "g", "cut.txt": "c", "odd.txt": "o", "good.npy": b"\x93"})
    source = open_source({"kind": "folder", "path": str(tmp_path)})
    by_id = {source.id(i): i for i in range(len(source))}
    assert shade(source[by_id["good"]]) == 5  # beside a file that is no medium
    with pytest.raises(CorruptMedia, match=r"cut\.png"):
        source[by_id["cut"]]
    with pytest.raises(UnsupportedMedia, match=r"odd\.bin"):
        source[by_id["odd"]]


# Tables


def test_rows_of_one_file_are_one_record(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "img/a.png": picture(1),
            "img/b.png": picture(2),
            "a.wav": tone(),
            "t.csv": "file,sound,title,alt\n"
            'img/a.png,a.wav,"first, with a comma",\n'
            "img/b.png,,of b,also b\n"
            "img/a.png,a.wav,second,\n"
            ",,nothing is named,\n",
        },
    )
    source = open_source(
        {
            "kind": "pairs",
            "path": str(tmp_path / "t.csv"),
            "columns": {"image": "file", "audio": "sound", "text": ["title", "alt"]},
        }
    )
    assert ids(source) == ["image:img/a.png | audio:a.wav", "image:img/b.png"]
    assert texts(source[0]) == ["first, with a comma", "second"]
    assert set(source[0].media) == {Modality.IMAGE, Modality.AUDIO, Modality.TEXT}
    assert (shade(source[1]), texts(source[1])) == (2, ["of b", "also b"])
    assert [failure.split(", ")[-2:] for failure in source.failures] == [
        ["line 5", "names no file"]
    ]


def test_json_lines_hold_lists_of_captions(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "text": ["x", "y"]}, {"image": "a.png", "text": "x"}]
    lines = [json.dumps(rows[0]), "{broken", json.dumps(rows[1]), "[1]"]
    write(tmp_path, {"a.png": picture(3), "rows/t.jsonl": "\n".join(lines)})
    table = {"kind": "pairs", "path": str(tmp_path / "rows/t.jsonl"), "root": str(tmp_path)}
    source = open_source(table)
    assert len(source) == 1
    assert texts(source[0]) == ["x", "y"]
    assert ["line 2" in source.failures[0], "line 4" in source.failures[1]] == [True, True]


def test_a_column_says_what_its_files_are(tmp_path: Path) -> None:
    write(tmp_path, {"a.wav": tone(), "t.csv": "image,text\na.wav,words\n"})
    source = open_source({"kind": "pairs", "path": str(tmp_path / "t.csv")})
    with pytest.raises(CrossbindError, match=r"a\.wav is a WAV sound"):
        source[0]


# Archives


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    long = "deep/" + "n" * 120  # a name that takes an extended header
    archive(
        tmp_path / "s-00.tar",
        {"x/1.png": picture(1), "x/1.txt": "one", "2.png": picture(2), "2.cls": "7"},
    )
    archive(
        tmp_path / "s-01.tar",
        {f"{long}.json": '{"captions": ["p", "q"]}', f"{long}.png": picture(3), "w.wav": tone()},
    )
    source = open_source({"kind": "tars", "shards": str(tmp_path / "s-{00..01}.tar")})
    assert ids(source) == ["s-00.tar/x/1", "s-00.tar/2", f"s-01.tar/{long}", "s-01.tar/w"]
    assert [shade(source[i]) for i in range(3)] == [1, 2, 3]
    assert [texts(source[i]) for i in range(4)] == [["one"], [], ["p", "q"], []]
    assert isinstance(source[3].media[Modality.AUDIO][0].data, Sound)
    assert not source.failures
    assert len(open_source({"kind": "tars", "shards": str(tmp_path / "s-*.tar")})) == 4
    assert shade(pickle.loads(pickle.dumps(source))[2]) == 3


def test_a_shard_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    whole = archive(
        tmp_path / "whole.tar",
        {
            f"{n}.{end}": data
            for n in range(4)
            for end, data in (("txt", str(n)), ("png", picture(n)))
        },
    ).read_bytes()
    kept = []
    cut = tmp_path / "cut.tar"
    archive(tmp_path / "good.tar", {"g.png": picture()})
    for at in range(0, 17 * 512, 512):  # 16 blocks, and the end mark
        cut.write_bytes(whole[: at + 100])
        source = open_source({"kind": "tars", "shards": str(tmp_path / "[cg]*.tar")})
        count = len(source) - 1
        assert [texts(source[i]) for i in range(count)] == [[str(i)] for i in range(count)]
        assert [shade(source[i]) for i in range(count)] == list(range(count))
        assert len(source.failures) == 1
        assert "cut.tar" in source.failures[0]
        assert ("breaks off" in source.failures[0]) == (at > 0)
        kept.append(count)
    assert kept == sorted(kept)
    assert set(kept) == {0, 1, 2, 3}


def test_hidden_and_impossible_members_are_left_out(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.tar", {"._1.png": b"\0\5\x16\7", "1.png": picture(1)})
    source = open_source({"kind": "tars", "shards": str(path)})
    assert ids(source) == ["m.tar/1"]
    archive(path, {"0.png": picture(0), "1.png": picture(1)})
    below = tarfile.TarInfo("2.png")
    below.pax_headers = {"size": "-2048"}
    path.write_bytes(path.read_bytes()[: 4 * 512] + below.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    source = open_source({"kind": "tars", "shards": str(path)})
    assert ids(source) == ["m.tar/0"]  # what is broken off may have been about the one before it
    assert "2.png a size below 0" in source.failures[0]


def test_links_and_compressed_archives_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BadInput, match="no record"):
        open_source({"kind": "tars", "shards": str(tmp_path / "l.tar")})
    with tarfile.open(tmp_path / "z.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(BadInput, match="gunzip"):
        open_source({"kind": "tars", "shards": str(tmp_path / "z.tar")})
    with pytest.raises(NotFound, match=r"s-09\.tar"):
        expanded(str(tmp_path / "s-{09..10}.tar"))


# Splits


def test_a_record_stays_in_its_split_when_others_come(tmp_path: Path) -> None:
    write(tmp_path, {f"c/{n}.png": picture() for n in range(60)})
    table = {"kind": "classes", "path": str(tmp_path), "validation_share": 0.3}

    def part(split: str) -> set[str]:
        return set(ids(open_source({**table, "split": split})))

    before = {split: part(split) for split in ("train", "validation", "all")}
    assert before["train"] | before["validation"] == before["all"]
    assert not before["train"] & before["validation"]
    assert 8 <= len(before["validation"]) <= 28
    write(tmp_path, {f"a/{n}.png": picture() for n in range(60)})
    assert before["validation"] < part("validation")
    assert before["train"] < part("train")
    with pytest.raises(BadInput, match="no record of 120"):
        open_source({**table, "split": "validation", "validation_share": 1e-6})


def test_what_belongs_together_is_never_parted(tmp_path: Path) -> None:
    names = [
        f"{digit}/{digit}_{who}_{take}" for digit in "01" for who in "abcdefgh" for take in "12"
    ]
    write(tmp_path, {f"{name}.png": picture() for name in names})
    table = {"kind": "classes", "path": str(tmp_path), "together": r"_(\w)_"}
    speakers = [
        {name.split("_")[1] for name in ids(open_source({**table, "split": split, **share}))}
        for split in ("train", "validation")
        for share in ({"validation_share": 0.5},)
    ]
    assert not speakers[0] & speakers[1]
    assert speakers[0] | speakers[1] == set("abcdefgh")


# What is refused


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({}, "kind is None; the kinds are: classes, folder, pairs, scenes, tars"),
        ({"kind": "floder"}, "'floder'; the kinds are"),
        ({"kind": "folder"}, "lacks path"),
        ({"kind": "folder", "path": "gone"}, "gone is no folder"),
        ({"kind": "folder", "path": "empty"}, "empty holds no media"),
        ({"kind": "classes", "path": "empty"}, "no class folders"),
        ({"kind": "classes", "path": "empty", "templates": ["a dog"]}, "one {} for the name"),
        ({"kind": "folder", "path": "empty", "pth": 1}, "no key 'pth'"),
        ({"kind": "folder", "path": "empty", "modalities": ["text"]}, "at least two"),
        ({"kind": "folder", "path": "empty", "modalities": ["text", "smell"]}, "smell"),
        ({"kind": "folder", "path": "empty", "split": "test"}, "all, train, validation"),
        ({"kind": "folder", "path": "empty", "validation_share": 1}, "less than 1"),
        ({"kind": "folder", "path": "empty", "together": "("}, "no regular expression"),
        ({"kind": "pairs", "path": "gone.csv"}, "gone.csv is not there"),
        ({"kind": "pairs", "path": "t.xls"}, ".csv, .tsv, .jsonl, .ndjson are read"),
        ({"kind": "pairs", "path": "t.csv"}, "no column 'image' or 'audio' or 'video'"),
        (
            {"kind": "pairs", "path": "t.csv", "columns": {"image": "url"}},
            "its columns are: a, text",
        ),
        ({"kind": "pairs", "path": "t.csv", "columns": {"smell": "a"}}, "columns.smell"),
        ({"kind": "pairs", "path": "t.csv", "columns": {"text": "text"}}, "names a file"),
        ({"kind": "pairs", "path": "latin.csv"}, "not valid UTF-8"),
        ({"kind": "pairs", "path": "quote.csv"}, "no table from line"),
        ({"kind": "tars", "shards": "gone-*.tar"}, "no shard"),
    ],
)
def test_errors_say_the_way_out(
    table: dict[str, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    quoted = 'a,b\n"' + "x" * 200_000
    write(tmp_path, {"t.csv": "a,text\n1,x\n", "t.xls": "", "latin.csv": b"image,text\na,\xe9\n"})
    write(tmp_path, {"quote.csv": quoted})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CrossbindError) as caught:
        open_source(table)
    assert reason in caught.value.message
