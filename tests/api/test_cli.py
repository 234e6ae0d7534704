"""The command line: called as a function on real files, a process where only that will do."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import skimage
from PIL import Image

from api import cli_docs
from api.arguments import UsageError, parse
from api.arguments_values import MAX_HITS
from api.cli import main
from api.config import Settings
from api.progress import plain_progress
from api.requests import MAX_K
from api.server import check
from api.service import Service
from embed.errors import CatalogError, StorageFull
from index.batch.ingest import Progress

ROOT = Path(__file__).parents[2]
PHOTOS = Path(skimage.__file__).parent / "data"
TEXTS = {
    "cat.txt": "The cat sleeps on the window sill all morning.",
    "tax.txt": "The invoice is due on Friday; add the value-added tax.",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, two texts, and two files that cannot be indexed."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("chelsea.png", "coffee.png"):
        shutil.copyfile(PHOTOS / name, folder / name)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    (folder / "archive.zip").write_bytes(b"PK\x03\x04" + bytes(range(256)))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, folder: Path, model_cache: Path) -> Path:
    """A library that holds `folder` in collection `default`."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSBIND_CACHE", str(model_cache))
        assert main(["--home", str(home), "--json", "--quiet", "ingest", str(folder)]) == 1
    return home


@pytest.fixture
def crossbind(home: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("CROSSBIND_HOME", str(home))
    monkeypatch.setenv("CROSSBIND_CACHE", str(model_cache))
    monkeypatch.delenv("CROSSBIND_API_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: main(list(words))


@pytest.fixture
def document(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """Runs a command with --json: its exit code and the one document on stdout."""

    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = crossbind("--json", *words)
        return code, json.loads(capsys.readouterr().out)

    return run


# Words


@pytest.mark.parametrize("flag", ["--json", "--quiet", "--verbose"])
def test_global_flags_are_taken_before_and_after_the_command(flag: str) -> None:
    name = flag.removeprefix("--")
    assert getattr(parse([flag, "search", "x"]), name) is True
    assert getattr(parse(["search", "x", flag]), name) is True
    assert getattr(parse(["collections", "list", flag]), name) is True
    assert getattr(parse(["search", "x"]), name) is False
    assert parse(["--home", "a", "models"]).home == Path("a")
    assert parse(["--home", "a", "models", "--home", "b"]).home == Path("b")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["serach", "x"],
        ["search"],
        ["search", "  "],
        ["search", "x", "-k", "0"],
        ["search", "x", "-k", "ten"],
        ["search", "x", "--modality", "smell"],
        ["search", "x", "--modality", ""],
        ["search", "x", "--queries", "-"],
        ["search", "x", "--nonsense"],
        ["ingest"],
        ["ingest", ".", "--workers", "-1"],
        ["serve", "--port", "70000"],
        ["serve", "--workers", "2"],
        ["serve", "--host", "0.0.0.0"],
        ["collections", "show"],
        ["collections", "delete", "default"],
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2_on_stderr_and_as_json(
    words: list[str],
    crossbind: Callable[..., int],
    document: Callable[..., tuple[int, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert crossbind(*words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("crossbind: ")
    assert "Traceback" not in printed.err
    code, error = document(*words)
    assert code == 2
    assert error["error"]["code"] == "bad_input"
    assert set(error["error"]) == {"type", "code", "message", "param", "request_id"}


def test_an_empty_query_is_answered_with_an_example(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    crossbind("search")
    assert 'crossbind search "a dog on a beach"' in capsys.readouterr().err


def test_a_wrong_modality_is_told_the_choices(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    crossbind("search", "x", "--modality", "image,smell")
    message = capsys.readouterr().err
    assert "'image,smell'" in message
    assert "text, image, audio, video" in message


def test_help_and_version(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert crossbind("--help") == 0
    assert crossbind("search", "--help") == 0
    capsys.readouterr()
    assert crossbind("--version") == 0
    assert capsys.readouterr().out.startswith("crossbind ")


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8")
    assert page == cli_docs.render(), "run: make docs"


# Ingest


def test_ingest_counts_reports_failures_and_exits_1(
    folder: Path, document: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    code, report = document("ingest", str(folder), "--collection", "counted")
    assert code == 1
    assert (report["ingested"], report["unchanged"], report["failed"]) == (4, 0, 2)
    assert {f["uri"].rpartition("/")[2]: f["code"] for f in report["failures"]} == {
        "broken.jpg": "corrupt_media",
        "archive.zip": "unsupported_media",
    }
    good = tmp_path / "good.txt"
    good.write_text("A sentence about boats.")
    assert document("ingest", str(good), "--collection", "counted")[0] == 0


def test_ingest_tells_people_what_failed_in_groups(
    folder: Path, crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert crossbind("ingest", str(folder), "--collection", "told") == 1
    out = capsys.readouterr().out
    assert "4 files indexed into 'told'" in out
    assert "2 failed" in out
    assert "1 file: corrupt_media" in out
    assert "broken.jpg" in out


def test_ingest_of_what_is_not_there_exits_3(
    document: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    code, error = document("ingest", str(tmp_path / "nowhere"))
    assert code == 3
    assert "nowhere" in error["error"]["message"]


def test_failures_beyond_a_few_examples_are_counted_and_listed_when_verbose(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f"bad{number}.zip").write_bytes(b"PK\x03\x04" + bytes([number, 0, 1]))
    crossbind("ingest", str(tmp_path), "--collection", "bad")
    assert "and 2 more (--verbose lists them)" in capsys.readouterr().out
    crossbind("ingest", str(tmp_path), "--collection", "bad", "--verbose")
    assert "bad4.zip" in capsys.readouterr().out


def test_progress_without_a_terminal_is_a_line_every_few_seconds() -> None:
    seconds = iter(range(100))
    lines = io.StringIO()
    show = plain_progress(lines, now=lambda: float(next(seconds)))
    for done in range(1, 11):
        show(Progress(phase="indexing", done=done, total=10, failed=1))
    printed = lines.getvalue().splitlines()
    assert 1 <= len(printed) <= 5
    assert "of 10 files, 1 failed" in printed[0]
    assert "s left" in printed[0]


# Search


def test_words_find_the_photo(document: Callable[..., tuple[int, Any]], folder: Path) -> None:
    code, answer = document("search", "a", "cat", "--modality", "image", "-k", "1")
    assert code == 0
    assert set(answer) == {"query", "hits", "search", "timings_ms", "next_cursor"}
    assert answer["query"] == [{"text": "a cat", "weight": 1.0}]
    [hit] = answer["hits"]
    assert hit["uri"] == (folder / "chelsea.png").as_uri()
    assert hit["modality"] == "image"


def test_a_photo_finds_the_text(document: Callable[..., tuple[int, Any]]) -> None:
    photo = str(PHOTOS / "chelsea.png")
    _, answer = document("search", "--image", photo, "--modality", "text", "-k", "1")
    assert answer["hits"][0]["title"] == "cat.txt"


def test_a_film_finds_the_photo(document: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    film = tmp_path / "cat.mp4"
    with av.open(film, "w") as file:
        track = file.add_stream("mpeg4", rate=5)
        track.width, track.height = 320, 240
        with Image.open(PHOTOS / "chelsea.png") as photo:
            frame = av.VideoFrame.from_image(photo.convert("RGB").resize((320, 240)))
        for _ in range(10):
            file.mux(track.encode(frame.reformat()))
        file.mux(track.encode())
    code, answer = document("search", "--video", str(film), "--modality", "image")
    assert (code, answer["hits"][0]["title"]) == (0, "chelsea.png")


def test_photo_words_and_without_are_one_query(document: Callable[..., tuple[int, Any]]) -> None:
    photo = str(PHOTOS / "chelsea.png")
    _, answer = document("search", "money", "--image", photo, "--without", "an", "animal")
    assert answer["query"] == [
        {"text": "money", "weight": 1.0},
        {"image": photo, "weight": 1.0},
        {"text": "an animal", "weight": -1.0},
    ]


def test_the_table_shows_rank_score_kind_and_place(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert crossbind("search", "a cat", "-k", "2") == 0
    out = capsys.readouterr().out
    for expected in ("chelsea.png", "image", "cat.txt", TEXTS["cat.txt"], "2 hits in", "exact"):
        assert expected in out
    assert "\x1b" not in out
    assert crossbind("search", "a cat", "--quiet") == 0
    assert "hits in" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["search", "x", "--collection", "nowhere"], 3),
        (["search", "--image", "nowhere.jpg"], 3),
        (["search", "--image", __file__], 4),
        (["search", "--audio", __file__], 4),
        (["collections", "show", "nowhere"], 3),
        (["collections", "delete", "nowhere", "--yes"], 3),
        (["models", "--prepare", "nothing"], 3),
        (["models", "nothing"], 3),
        (["search", "x", "--weights", "1,2"], 2),
        (["search", "x", "--weights", "0"], 4),
        (["search", "x", "-k", "100000"], 2),
        (["search", "--queries", "nowhere.txt"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_tell_what_went_wrong(
    words: list[str], expected: int, document: Callable[..., tuple[int, Any]]
) -> None:
    code, answer = document(*words)
    assert code == expected
    assert answer["error"]["message"]


def test_queries_are_answered_line_by_line_and_a_bad_one_in_its_place(
    crossbind: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [
        "a cat",
        '{"query": {"text": "an invoice"}, "k": 1, "modalities": ["text"]}',
        '{"query": "a cat", "colour": "red"}',
        "",
        '{"query": ["a cat", {"text": "an invoice", "weight": -0.5}]}',
        '{"queries": ["a", "b"]}',
        "{not json",
    ]
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(lines) + "\n")
    assert crossbind("search", "--queries", str(file), "-k", "2") == 4
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == len(lines)
    assert ["error" in answer for answer in answers] == [
        False,
        False,
        True,
        True,
        False,
        True,
        True,
    ]
    assert len(answers[0]["hits"]) == 2
    assert [hit["title"] for hit in answers[1]["hits"]] == ["tax.txt"]
    assert len(answers[4]["hits"]) == 2
    assert "line 3" in answers[2]["error"]["message"]
    assert "colour" in answers[2]["error"]["message"]


def test_queries_come_from_standard_input(
    crossbind: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\nan invoice\n"))
    assert crossbind("search", "--queries", "-", "--modality", "text", "-k", "1") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["hits"][0]["title"] for answer in answers] == ["cat.txt", "tax.txt"]


# Lists


def test_models_and_collections_are_listed(
    document: Callable[..., tuple[int, Any]],
    crossbind: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, models = document("models", "--prepare", "builtin")
    [builtin] = [model for model in models["models"] if model["id"] == "builtin"]
    assert builtin["state"] == "loaded"
    _, collections = document("collections")
    assert "default" in [collection["name"] for collection in collections["collections"]]
    _, shown = document("collections", "show", "default")
    assert shown["modalities"] == {"image": 2, "text": 2}
    assert len(shown["failed_files"]) == 2
    assert crossbind("models") == crossbind("collections") == 0
    assert crossbind("collections", "show", "default") == 0
    out = capsys.readouterr().out
    assert "builtin" in out
    assert "2 image, 2 text" in out


def test_a_collection_is_deleted_only_with_a_yes(
    document: Callable[..., tuple[int, Any]], folder: Path
) -> None:
    document("ingest", str(folder / "cat.txt"), "--collection", "gone")
    assert document("collections", "delete", "gone", "--yes") == (0, {"deleted": "gone"})
    assert document("collections", "show", "gone")[0] == 3
    assert (folder / "cat.txt").exists()


# Errors and signals


class Broken:
    """A service whose every list fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.closed = False

    def models(self) -> list[Any]:
        raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StorageFull("the disk is full"), 5, "the disk is full"),
        (CatalogError("the catalog is damaged"), 70, "the catalog is damaged"),
        (RuntimeError("a bug"), 70, "internal error: RuntimeError: a bug"),
        (KeyboardInterrupt(), 130, "what was committed stays"),
    ],
)
def test_every_error_has_its_exit_code_and_words(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = Broken(error)

    def make(_: Settings) -> Any:
        return broken

    assert main(["--home", str(tmp_path), "models"], make_service=make) == code
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert broken.closed
    assert main(["--home", str(tmp_path), "models", "--json"], make_service=make) == code
    assert words in json.loads(capsys.readouterr().out)["error"]["message"]


def test_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def make(_: Settings) -> Service:
        raise RuntimeError("a bug")

    assert main(["--home", str(tmp_path), "--verbose", "models"], make_service=make) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_server_open_to_strangers_needs_a_key(tmp_path: Path) -> None:
    closed = Settings(home=tmp_path, cache=tmp_path, threads=1, api_keys=("secret",))
    open_ = Settings(home=tmp_path, cache=tmp_path, threads=1)
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        check(closed, host=host, workers=1)
        with pytest.raises(UsageError, match="CROSSBIND_API_KEY"):
            check(open_, host=host, workers=1)
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        check(open_, host=host, workers=1)


def test_a_port_in_use_is_said_plainly(document: Callable[..., tuple[int, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = document("serve", "--port", str(port))
    assert code == 5
    assert f"port {port} is already in use" in error["error"]["message"]


# Processes


@pytest.fixture
def process(home: Path, model_cache: Path) -> Callable[..., subprocess.Popen[str]]:
    environ = {**os.environ, "CROSSBIND_HOME": str(home), "CROSSBIND_CACHE": str(model_cache)}
    environ.pop("CROSSBIND_API_KEY", None)
    # A shell starts what runs in the background deaf to Ctrl-C, and its children with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "api", *words],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


HEAVY = ["torch", "transformers", "torchvision"]


@pytest.mark.parametrize(
    ("words", "forbidden"),
    [
        (["--help"], [*HEAVY, "numpy", "rich", "onnxruntime", "fastapi", "uvicorn", "sqlite3"]),
        (["search", "--nonsense"], [*HEAVY, "numpy", "rich", "onnxruntime", "fastapi"]),
        (["--json", "search", "a cat"], [*HEAVY, "rich", "fastapi", "uvicorn", "pydantic"]),
        (["search", "a cat"], [*HEAVY, "fastapi", "uvicorn", "pydantic"]),
        (["--json", "search", "--image", str(PHOTOS / "coffee.png")], [*HEAVY, "rich", "fastapi"]),
        (["--json", "ask", "when is the invoice due?"], [*HEAVY, "rich", "fastapi", "pydantic"]),
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_nothing_is_imported_that_is_not_needed(
    words: list[str], forbidden: list[str], home: Path, model_cache: Path
) -> None:
    script = (
        "import sys; from api.__main__ import main; sys.argv[0] = 'crossbind'; main(); "
        "print('\\n' + ' '.join(sys.modules))"
    )
    environ = {**os.environ, "CROSSBIND_HOME": str(home), "CROSSBIND_CACHE": str(model_cache)}
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert imported.isdisjoint(forbidden), imported & set(forbidden)


def test_a_reader_that_leaves_early_is_no_error(
    process: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("a cat\n" * 200)
    search = process("search", "--queries", str(queries))
    assert search.stdout is not None
    assert search.stderr is not None
    assert search.stdout.readline().startswith('{"query"')
    search.stdout.close()
    assert search.wait(60) == 0
    assert search.stderr.read() == ""
    search.stderr.close()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_server_says_where_it_is_and_stops_when_told(
    stop: signal.Signals, process: Callable[..., subprocess.Popen[str]]
) -> None:
    server = process("--json", "serve", "--port", "0")
    assert server.stdout is not None
    url = json.loads(server.stdout.readline())["url"]
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    server.send_signal(stop)
    out, errors = server.communicate(timeout=60)
    assert (server.returncode, out, errors) == (0, "", "")


def test_an_interrupted_ingest_goes_on_where_it_stopped(
    process: Callable[..., subprocess.Popen[str]],
    document: Callable[..., tuple[int, Any]],
    tmp_path: Path,
) -> None:
    notes = 1200
    for number in range(notes):
        (tmp_path / f"{number}.txt").write_text(f"Note {number} about nothing in particular.")
    words = ("ingest", str(tmp_path), "--collection", "interrupted")
    first = process("--json", *words)
    # It stands still while it is looked at: on a busy machine it would be done before it is told.
    first.send_signal(signal.SIGSTOP)
    while document("collections", "show", "interrupted")[1].get("items", 0) == 0:
        assert first.poll() is None
        first.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"
    code, report = document(*words)
    assert code == 0
    assert report["unchanged"] > 0
    assert report["ingested"] > 0
    assert report["ingested"] + report["unchanged"] == notes


def test_the_limit_of_hits_is_the_same_at_every_door() -> None:
    assert MAX_HITS == MAX_K
    with pytest.raises(UsageError, match="between 1 and 1000"):
        parse(["search", "a", "-k", "1001"])
