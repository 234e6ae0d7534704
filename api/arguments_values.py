"""What the values of flags may be: numbers within bounds, weights, kinds of media."""

from __future__ import annotations

import argparse
from collections.abc import Callable

MAX_HITS = 1000  # api.requests.MAX_K, whose module --help need not wait for


def hits(value: str) -> int:
    return within(value, 1, MAX_HITS)


def positive(value: str) -> int:
    return within(value, 1, 1_000_000)


def number(value: str) -> int:
    return within(value, 0, 1_000_000)


def share(value: str) -> float:
    return between(0, 1)(value)


def between(low: float, high: float) -> Callable[[str], float]:
    """A number from `low` to `high`."""

    def parse(value: str) -> float:
        try:
            given = float(value)
        except ValueError:
            given = low - 1
        if not low <= given <= high:
            raise argparse.ArgumentTypeError(
                f"{value!r} is not a number between {low:g} and {high:g}"
            )
        return given

    return parse


def weights(value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a list of numbers with commas between, such as 1,0.5,-1"
        ) from None


def within(value: str, low: int, high: int) -> int:
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a whole number between {low} and {high}"
        )
    return int(value)
