"""What clients of a server are not told: where the endpoints of its generators are.

Whoever runs it named them, in settings or inside a generator's name (`openai:MODEL@URL`); clients
ask for `openai:MODEL`. It knows no routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from embed.errors import CrossbindError

_WITHIN_A_NAME = re.compile(r"@https?://[^\s'\",;)]*")
_ADDRESS = re.compile(r"https?://[^\s'\",;)]*[^\s'\",;).:]")


def discreet(text: str) -> str:
    """A generator's name, or what is told of one, without addresses."""
    return _ADDRESS.sub("an endpoint", _WITHIN_A_NAME.sub("", text))


def meant(name: str, known: Sequence[str]) -> str | None:
    """The generator that a client calls so: of several at different addresses the first. None for
    one that is not known."""
    return name if name in known else next((one for one in known if discreet(one) == name), None)


@contextmanager
def discreetly() -> Iterator[None]:
    """An error from inside is told without addresses."""
    try:
        yield
    except CrossbindError as error:
        error.message = discreet(error.message)
        raise
