"""Files of a trained folder as they are written: each named by its content, so none is overwritten.

It knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from embed.backends.onnx_runtime.folder import FileFacts
from embed.errors import BadInput, StorageFull


class Files:
    """Adds files to `folder`; `facts` says of each its size and digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, FileFacts] = {}

    def tensors(self, stem: str, tensors: Mapping[str, Tensor]) -> str:
        """A safetensors file in fp32 or as they are, and its name."""
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        return self.add(stem, ".safetensors", lambda path: save_file(plain, path))

    def add(self, stem: str, suffix: str, write: Callable[[Path], None]) -> str:
        """What `write` writes, on disk before this returns, and its name."""
        aside = self.folder / f".{stem}{suffix}"
        write(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{stem}-{digest[:12]}{suffix}"
        self.facts[name] = FileFacts(aside.stat().st_size, digest)
        aside.replace(self.folder / name)
        return name


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What a disk has against it becomes StorageFull or BadInput."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = (errno.ENOSPC, errno.EDQUOT)
        codes = getattr(error, "errno", None)
        if codes in full or any(os.strerror(code) in str(error) for code in full):
            raise StorageFull(f"no space left for {folder}: free some, or name another") from error
        raise BadInput(
            f"{folder} cannot be written ({getattr(error, 'strerror', None) or error}): name "
            "another folder",
            param="folder",
        ) from error
