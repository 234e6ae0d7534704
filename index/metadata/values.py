"""What it means for values of metadata to be the same, earlier, near, or to hold words.

The one meaning that `filters.py` and `columns.py` share; it knows no predicate.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from embed.types import GeoPoint
from index.metadata.tokens import all_in, words_of_each

Doubles: TypeAlias = NDArray[np.float64] | np.float64

EARTH_METRES = 6_371_008.8  # mean radius, IUGG
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def same(value: object, other: object) -> bool:
    """2020 is 2020.0, True is not 1, and texts are the same letter by letter."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_time(text: str) -> int | None:
    """ISO 8601, `2024-05-01` or `2024-05-01T10:00[:00[.000]][Z or +02:00]`, as microseconds since
    1970 began in UTC, which is meant where no zone is told; None for any other text."""
    if not _TIME.fullmatch(text):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        return None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def speaks_of(text: str, words: str) -> bool:
    """Whether each of the words stands in the text, whatever its case and accents.

    Of no words at all, false.
    """
    wanted, there = words_of_each([words, text])
    return bool(wanted) and all_in(wanted, set(there))


def metres_between(lat: Doubles, lon: Doubles, centre: GeoPoint) -> Doubles:
    """Along the surface of a sphere: the haversine formula (Sinnott 1984). Degrees, any shape."""
    here, there = np.radians(lat), np.radians(np.float64(centre.lat))
    half_lat, half_lon = (here - there) / 2, np.radians(lon - np.float64(centre.lon)) / 2
    square = np.sin(half_lat) ** 2 + np.cos(here) * np.cos(there) * np.sin(half_lon) ** 2
    metres: Doubles = 2 * EARTH_METRES * np.arcsin(np.sqrt(np.clip(square, 0, 1)))
    return metres
