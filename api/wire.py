"""Values that JSON has no type of its own for: media, metadata, places; and an item as a whole.

Media travel as data URIs or plain base64; what they are is told by their bytes, never by the type
that the URI claims. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import binascii
import math
import reprlib
from collections.abc import Mapping
from typing import Any

from embed.errors import BadInput, Forbidden
from embed.types import GeoPoint, Item, Metadata

NO_FETCHING = (
    "fetching URLs is not enabled: send the bytes instead, as a data URI or base64 in JSON or as "
    "a multipart file"
)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def brief(value: object) -> str:
    """A value as a message shows it: its repr, cut to a readable length."""
    return _SHORT.repr(value)


def check_metadata(value: Mapping[str, Any]) -> Metadata:
    """Metadata as the catalog takes it. Raises ValueError naming the key and the choices."""
    return {key: _metadata_value(key, entry) for key, entry in value.items()}


def _metadata_value(key: str, value: Any) -> Any:
    if not key.strip():
        raise ValueError(f"metadata key {key!r} is blank")
    if isinstance(value, dict):
        return _geo_point(key, value)
    for scalar in value if isinstance(value, list) else [value]:
        finite = isinstance(scalar, str | bool) or _is_number(scalar)
        if not finite:
            raise ValueError(
                f"metadata {key!r} is {brief(value)}; a string, a finite number of at most "
                "64 bits, true, false, a list of these or "
                '{"lat": degrees, "lon": degrees} is wanted'
            )
    return value


def _geo_point(key: str, value: Mapping[str, Any]) -> GeoPoint:
    lat: Any = value.get("lat")
    lon: Any = value.get("lon")
    numbers = len(value) == 2 and _is_number(lat) and _is_number(lon)
    if not numbers or abs(lat) > 90 or abs(lon) > 180:
        raise ValueError(
            f"metadata {key!r} is {brief(dict(value))}; a place is exactly "
            '{"lat": -90 to 90, "lon": -180 to 180}'
        )
    return GeoPoint(float(lat), float(lon))


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def metadata_to_json(metadata: Metadata) -> dict[str, Any]:
    """The inverse of `check_metadata`: places become objects again."""
    return {
        key: value._asdict() if isinstance(value, GeoPoint) else value
        for key, value in metadata.items()
    }


def decode_media(value: str, param: str) -> bytes:
    """The bytes of a data URI or of plain base64. Raises BadInput, Forbidden for a URL."""
    encoded = value
    if value.startswith("data:"):
        head, comma, encoded = value.partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadInput(
                f"{param} is {brief(value)}; a data URI looks like 'data:image/jpeg;base64,…'",
                param=param,
            )
    elif value.startswith(("http://", "https://", "file:")):
        raise Forbidden(f"{param} is {brief(value)}; {NO_FETCHING}", param=param)
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(
            f"{param} is {brief(value)}, which is not base64 ({error}); a data URI or "
            "standard padded base64 is wanted",
            param=param,
        ) from error
    if not data:
        raise BadInput(f"{param} holds no bytes", param=param)
    return data


def item_to_json(item: Item, collection: str) -> dict[str, Any]:
    """ITEM of the wire format: what a hit says of its item, and its digest."""
    return {
        "id": item.id,
        "record": item.record,
        "origin": item.origin.value,
        "collection": collection,
        "modality": item.modality.value,
        "digest": item.digest,
        "uri": item.uri,
        "title": item.title,
        "text": item.text,
        "metadata": metadata_to_json(item.metadata),
    }
