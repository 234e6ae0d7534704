"""What the whole suite shares."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of derived weights for all tests, so that a run exports each network once."""
    return tmp_path_factory.mktemp("models")
