"""The page's files fit each other: what a script names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.app import PAGE, WEB

SCRIPTS = sorted(path for path in WEB.glob("*.js") if path.name != "docs.js")
HTML = (WEB / "index.html").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_elements_that_scripts_look_for_are_there(script: Path) -> None:
    ids = {*re.findall(r'\bid="([\w-]+)"', HTML)}
    wanted = {*re.findall(r'(?:\$|getElementById)\("([\w-]+)"\)', script.read_text())}
    assert wanted <= ids


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_scripts_take_from_each_other_is_offered(script: Path) -> None:
    for names, path in re.findall(r'import \{ ([^}]+) \} from "([^"]+)"', script.read_text()):
        source = (WEB / PAGE[path]).read_text()
        offered = re.findall(r"export (?:async )?(?:const|let|class|function\*?) ([\w$]+)", source)
        assert {*names.split(", ")} <= {*offered}, path


def test_every_id_is_of_one_element() -> None:
    ids = re.findall(r'\bid="([\w-]+)"', HTML)
    assert len(ids) == len({*ids})
