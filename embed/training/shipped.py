"""Where the small weights lie that this repository ships, and their entries in the manifest.

It knows no format: whoever makes weights writes them, and then registers them here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from embed.weights import store

WEIGHTS = Path(store.__file__).parent


def path_of(name: str) -> Path:
    """Where the weights called `name` lie. Raises NotFound."""
    return WEIGHTS / Path(store.entry(name).path).relative_to("weights")


def register(name: str) -> str:
    """Brings the manifest's size and digest of `name` up to date with its file; the digest."""
    manifest, path = WEIGHTS / store.MANIFEST, path_of(name)
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entries[name].update(size=path.stat().st_size, sha256=digest)
    manifest.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    return digest
