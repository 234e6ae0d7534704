"""The JSON files of a transformers folder, read without importing the library.

It knows their names and how values hide in them, and no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from embed.errors import MissingWeights

Json = Mapping[str, Any]


class ModelFolder:
    """A folder that `save_pretrained` wrote, or one like it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> Json:
        """config.json. Raises MissingWeights when it is not there or says no `model_type`."""
        config = self.read("config.json")
        if not isinstance(config.get("model_type"), str):
            raise MissingWeights(
                f"{self.path} holds no config.json that says its model_type, so it is no "
                "transformers model: give the folder that save_pretrained wrote"
            )
        return config

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @cached_property
    def modules(self) -> list[Json]:
        """modules.json of sentence-transformers; empty where there is none."""
        found = self.read_any("modules.json")
        return found if isinstance(found, list) else []

    def part(self, key: str, *files: str) -> Json:
        """The settings of one processor: a file of its own, or `key` of processor_config.json."""
        for name in files:
            if found := self.read(name):
                return found
        inner: Json = self.read("processor_config.json").get(key) or {}
        return inner

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where there is no such file."""
        found = self.read_any(name)
        return found if isinstance(found, dict) else {}

    def read_any(self, name: str) -> Any:
        """None where there is no such file. Raises MissingWeights for one that is no JSON."""
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise MissingWeights(f"{path} cannot be read: {error}; fetch it again") from error


def value_at(config: Json, path: str) -> Any:
    """`value_at(config, "text_config.hidden_size")`; None where any step is missing."""
    found: Any = config
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def first_of(config: Json, *paths: str, default: Any) -> Any:
    """The first of `paths` that says anything."""
    found = (value_at(config, path) for path in paths)
    return next((value for value in found if value is not None), default)


def side_lengths(size: Any) -> tuple[int, int] | None:
    """Height and width of `{"height", "width"}`, or None for a size of another kind."""
    if isinstance(size, Mapping) and "height" in size and "width" in size:
        return int(size["height"]), int(size["width"])
    return None
