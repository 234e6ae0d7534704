from __future__ import annotations

import pytest

from embed.media.sidecars import owners


@pytest.mark.parametrize(
    "text",
    ["photo.txt", "photo.json", "photo.caption", "photo.vtt", "photo.srt", "photo.TXT",
     "photo.jpg.txt", "photo.jpg.json"],
)  # fmt: skip
def test_a_text_beside_its_medium(text: str) -> None:
    assert owners([text, "photo.jpg", "other.png"]) == {text: "photo.jpg"}


@pytest.mark.parametrize("medium", ["a.JPG", "a.mp4", "a.wav", "a.heic"])
def test_any_medium_may_have_one(medium: str) -> None:
    assert owners([medium, "a.txt", "a.json"]) == {"a.txt": medium, "a.json": medium}


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["photo.txt"],
        ["a.txt", "a.jpg", "a.mp3"],
        ["a.txt", "a.pdf"],
        ["a.txt", "a.pdf", "a.jpg"],
        ["a.pdf.txt", "a.pdf"],
        ["a.md", "a.jpg"],
        ["a.jpg", "a.png"],
        ["ab.txt", "a.jpg"],
        ["A.txt", "a.jpg"],
        [".txt", ".jpg"],
        ["a.txt", "a.json"],
    ],
)
def test_whose_it_is_must_be_beyond_doubt(names: list[str]) -> None:
    assert owners(names) == {}


def test_the_whole_name_decides_where_the_rest_does_not() -> None:
    names = ["a.jpg", "a.mp3", "a.txt", "a.jpg.txt", "a.mp3.srt"]
    assert owners(names) == {"a.jpg.txt": "a.jpg", "a.mp3.srt": "a.mp3"}


def test_dots_in_names() -> None:
    assert owners(["trip.2024.jpg", "trip.2024.txt", "trip.txt"]) == {
        "trip.2024.txt": "trip.2024.jpg"
    }
