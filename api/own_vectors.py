"""Items that bring their own vector, in any space: what is stored of them.

In a space that embeds, what they are stored under tells the vector too, so that nobody takes it for
one that the tower made of the same content. In `vectors:DIM` there is no tower to be mistaken for.
"""

from __future__ import annotations

import io
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from api.requests import Upload
from embed.backends.vectors import FORM
from embed.errors import BadInput, InvalidVector, UnsupportedModality
from embed.media.read import open_media
from embed.media.text import title_of
from embed.types import Floats, Modality, normalise
from index.collection import Collection
from index.types import Entry, NewFragment


class Own(NamedTuple):
    """An item to store, and the bytes that it is of."""

    entry: Entry
    data: bytes


def own(upload: Upload, target: Collection) -> Own:
    """Raises InvalidVector, BadInput, and what `open_media` raises."""
    vector = _unit(upload.vector)
    towerless = _is_towerless(target)
    if upload.data and not towerless and upload.text is None:
        raise BadInput(
            f"the space {target.info.space.name!r} embeds data itself: leave out data or vector, "
            f"or use a collection of the space {FORM}{len(vector)}",
            param="vector",
        )
    if upload.data and towerless:
        modality, digest, text = _told(upload)
        data = upload.data
    else:
        modality, text = upload.modality or Modality.TEXT, upload.text
        data = _npy(vector) + (text or "").encode()
        digest = sha256(data).hexdigest()
    key = upload.id or uuid4().hex
    entry = Entry(
        modality=modality,
        digest=digest,
        fragments=[NewFragment(None, vector)],
        id=key,
        record=upload.record or key,
        title=upload.name or (title_of(text) if text else None),
        text=text,
        metadata=upload.metadata,
    )
    return Own(entry, data)


def check_tower(target: Collection) -> None:
    """Raises UnsupportedModality where there is none to embed with."""
    if _is_towerless(target):
        raise UnsupportedModality(
            f"the space {target.info.space.name!r} embeds nothing: give each item its vector",
            param="vector",
        )


def _is_towerless(target: Collection) -> bool:
    return target.info.space.name.startswith(FORM)


def _unit(given: Floats | None) -> Floats:
    assert given is not None
    if given.ndim != 1 or not len(given):
        raise InvalidVector(f"vector has shape {given.shape}; (D,) is wanted", param="vector")
    return np.asarray(normalise(given[None])[0], np.float32)


def _told(upload: Upload) -> tuple[Modality, str, str | None]:
    """What the bytes say of themselves."""
    raw = open_media(upload.data, accepts=frozenset(Modality), name=upload.name)
    if raw.modality is not Modality.TEXT:
        return raw.modality, raw.digest, None
    text = raw.decode(Modality.TEXT, image_side=0).data
    return raw.modality, raw.digest, text if isinstance(text, str) else None


def _npy(vector: Floats) -> bytes:
    file = io.BytesIO()
    np.save(file, vector)
    return file.getvalue()
