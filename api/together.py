"""Two media of a query read as one by a tower that sees both at once, where there is such a tower.

Not a sum of two vectors: a film with its sound is not what either is alone. See
`embed.backends.joint`.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.query import QueryVectors, embed_queries, medium_of
from api.requests import SearchRequest, Term
from embed.backends.joint import JointTower
from embed.batcher import Batcher
from embed.errors import InvalidQuery
from embed.types import Media
from index.collection import Collection


def embed_requests(
    requests: Sequence[SearchRequest], batcher: Batcher, collection: Collection
) -> list[QueryVectors]:
    """One for each request, its terms added or read together as it asks. Raises InvalidQuery."""
    added = [request.terms for request in requests if not request.together]
    rest = iter(embed_queries(added, batcher, collection))
    return [
        embed_together(request.terms, batcher) if request.together else next(rest)
        for request in requests
    ]


def embed_together(terms: Sequence[Term], batcher: Batcher) -> QueryVectors:
    """The one vector of all terms. Raises InvalidQuery where the tower does not read them so."""
    tower = batcher.embedder
    if not isinstance(tower, JointTower) or not tower.joint:
        raise InvalidQuery(
            f"the space {tower.space.name!r} reads no media together: leave `together` out, and "
            "their vectors are added",
            param="together",
        )
    vectors = tower.embed_joint([_piece(term, batcher) for term in terms])
    if vectors.space.id != tower.space.id:
        raise InvalidQuery(
            f"what {tower.space.name!r} reads together lies in a space of its own, "
            f"{vectors.space.name!r}, which no collection holds: leave `together` out",
            param="together",
        )
    return QueryVectors(vectors.joint[0])


def _piece(term: Term, batcher: Batcher) -> Media:
    """The whole medium as one piece."""
    if term.kind in ("vector", "item") or term.weight != 1:
        raise InvalidQuery(
            f"{term.kind} with weight {term.weight:g} cannot be read together with others: only "
            "media can, and without weights",
            param="together",
        )
    pieces = [piece for _, piece in batcher.embedder.fragment(medium_of(term, batcher))]
    if len(pieces) != 1:
        raise InvalidQuery(
            f"the query's {term.kind} falls into {len(pieces)} pieces, and what is read together "
            "is one: take a shorter one",
            param="together",
        )
    return pieces[0]
