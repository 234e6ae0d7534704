"""What every benchmark says of where it ran, and how it ends: one JSON document, last line."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("crossbind", "numpy", "numkong", "onnxruntime", "pillow", "torch", "faiss-cpu")


def setting() -> dict[str, Any]:
    """Hardware, versions and date, so that a number can be read a year later."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def finish(name: str, result: dict[str, Any], out: Path | None = None) -> None:
    """Prints the result as the last line, and keeps it in `out` when given."""
    document = {"benchmark": name, **setting(), **result}
    if out is not None:
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document), flush=True)


def say(text: str) -> None:
    """For people, on stderr, so that stdout stays one document."""
    print(text, file=sys.stderr, flush=True)


def peak_rss_mib(process: int) -> float:
    """Peak resident memory of a running process, MiB; 0 once it has ended.

    Not `ru_maxrss`, which a child inherits from the parent that forked it.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) / 1024 if lines else 0.0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
