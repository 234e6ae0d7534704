"""What the whole suite shares."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no verdict that depends on the clock.
settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of derived weights for all tests, so that a run exports each network once."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def whole_files() -> dict[str, bytes]:
    """One small file of every kind that is read, by name; the fuzzer breaks the same ones."""
    path = Path(__file__).parents[1] / "benchmarks" / "samples.py"
    spec = importlib.util.spec_from_file_location("samples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.samples())
