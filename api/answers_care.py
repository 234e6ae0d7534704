"""The shapes of answers about whether a library is whole, for the OpenAPI document only."""

from __future__ import annotations

from api.answers import Answer


class SnapshotAnswer(Answer):
    name: str
    bytes: int
    collections: list[str]
    items: int
    missing: list[str]
    created: str


class StoredSnapshot(Answer):
    name: str
    bytes: int


class SnapshotList(Answer):
    snapshots: list[StoredSnapshot]


class FindingAnswer(Answer):
    code: str
    severity: str
    id: str
    collection: str | None
    message: str
    remedy: str


class VerificationAnswer(Answer):
    clean: bool
    items: int
    vectors: int
    blobs: int
    seconds: float
    counts: dict[str, int]
    findings: list[FindingAnswer]
