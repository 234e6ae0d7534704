"""The repository's outer shell: what the documents say must be so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from api import demo
from api.arguments import EXAMPLES, parse

ROOT = Path(__file__).parents[1]
ROOMS = ["embed", "index", "generation", "rag", "api"]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(read("pyproject.toml"))["project"]
    return project


def commands(text: str) -> list[str]:
    """The lines of a text that call `crossbind`."""
    return re.findall(r"^(?:\$ )?((?:[A-Z_]+=\S+ )*crossbind .+)$", text, re.MULTILINE)


def words_of(line: str) -> list[str]:
    """What the program is handed: without pipes, redirections, comments and variables."""
    shell = shlex.shlex(line, posix=True, punctuation_chars="|<>&")
    shell.whitespace_split = True
    words = takewhile(lambda word: word not in {"|", "<", ">", "&&"}, shell)
    return [word for word in words if not re.match(r"[A-Z_]+=", word)]


def test_the_readme_has_two_commands_and_their_equivalents() -> None:
    readme = read("README.md")
    assert set(re.findall(r"make (\w+)", readme)) == {"demo", "test"}
    for extras in ("[cpu,demo]", "[cpu,demo,dev]"):
        assert f"pip install -e '.{extras}'" in readme
        assert f"install -e '.{extras}'" in read("Makefile")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_documents_is_understood(page: str) -> None:
    for command in commands(read(page)):
        words = words_of(command)
        assert words[0] == "crossbind"
        parse(words[1:])
    known = {name.partition(" ")[0] for name in EXAMPLES}
    for name in re.findall(r"`crossbind (\w+)", read(page)):
        assert name in known, f"{page} mentions crossbind {name}"


def test_every_command_that_the_program_suggests_is_understood() -> None:
    suggested = commands(demo.NEXT.format(home="h").replace("  crossbind", "crossbind"))
    assert len(suggested) == 5
    for command in [*suggested, *(line for lines in EXAMPLES.values() for line in lines)]:
        words = words_of(command)
        parse(words[words.index("crossbind") + 1 :])


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_documents_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(page)):
        if not target.startswith(("http://", "https://")):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_the_architecture_page_names_every_file_and_no_other() -> None:
    page = read("docs/ARCHITECTURE.md")
    block = page.split("## Every file")[1].split("```")[1]
    named: set[str] = set()
    folders: list[str] = []
    for line in block.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        if line.strip().endswith("/"):
            folders = [*folders[:depth], line.strip()]
        else:
            names = re.match(r"(\S+\.py\s+)+", line.strip() + " ")
            assert names, line
            named |= {"".join(folders[:depth]) + name for name in names[0].split()}
    real = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not path.name.startswith("__")
    }
    assert named == real


def test_the_makefile_and_ci_do_what_the_documents_say() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    used = {target for page in PAGES for target in re.findall(r"^make ([a-z]+)", read(page), re.M)}
    assert used <= targets
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in read(".ci/run")
    assert re.findall(r"^make (\w+)$", read(".ci/run"), re.MULTILINE) == ["test", "demo", "lint"]


def test_an_old_python_is_refused_with_the_way_out(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" || exit 1\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout
    assert "Python 3.9.1" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_image_runs_as_nobody_special_and_asks_for_a_key() -> None:
    dockerfile = read("Dockerfile")
    steps = re.findall(r"^([A-Z]+) (.+)", dockerfile.replace("\\\n", " "), re.MULTILINE)
    [user] = [value for step, value in steps if step == "USER"]
    assert user.isdigit()
    assert int(user) > 0
    installed = next(i for i, (step, value) in enumerate(steps) if "pip install" in value)
    assert steps.index(("USER", user)) > installed
    [health] = [value for step, value in steps if step == "HEALTHCHECK"]
    assert "/health/live" in health
    assert dict(steps)["CMD"] == '["serve", "--host", "0.0.0.0", "--port", "8080"]'
    assert not any("API_KEY" in value for step, value in steps if step in {"ENV", "ARG"})
    copied = [name for step, value in steps if step == "COPY" for name in value.split()[:-1]]
    ignored = read(".dockerignore").splitlines()
    assert ignored[0] == "*"
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert set(copied) >= {*ROOMS, "pyproject.toml", "README.md", "LICENSE", "NOTICE"}


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_the_dockerfile_passes_hadolint() -> None:
    done = subprocess.run(["hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_cpu_and_gpu_builds_are_never_installed_together(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    exclusive = re.compile(r"^(onnxruntime|faiss)")
    assert not [line for line in project["dependencies"] if exclusive.match(line)]
    for name, lines in extras.items():
        if name not in {"cpu", "gpu"}:
            assert not [line for line in lines if exclusive.match(line)]
    assert {"cpu", "gpu", "demo", "dev"} <= set(extras)


def test_the_licence_is_whole_and_the_credits_are_given(project: dict[str, Any]) -> None:
    licence = read("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    for credited in ("all-MiniLM-L6-v2", "EfficientNet-Lite0", "WordNet 3.0", "open_clip"):
        assert credited in read("NOTICE")
    assert project["license"] == "Apache-2.0"
    assert set(project["license-files"]) == {"LICENSE", "NOTICE"}
    assert f"## {project['version']}" in read("CHANGELOG.md")
