"""A slice of `benchmarks/fuzz_media.py`: broken files never crash or hang a worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "fuzz_media.py"


def test_broken_files_are_read_or_refused_in_our_own_words() -> None:
    command = [sys.executable, str(SCRIPT), "--cases", "448", "--seed", "20261121"]
    done = subprocess.run(command, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["bad"] == []
    assert done.returncode == 0
    assert result["outcomes"]["read"] > 50
    assert result["outcomes"]["refused"] > 50
    assert result["peak_memory_mib"] < 1500
