"""The shapes of answers, for the OpenAPI document only: routes send dicts and check nothing twice.

Tests hold every answer against these.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from api.job_types import JobState
from embed.types import Modality
from index.types import Storage


class Answer(BaseModel):
    """Closed, so that a test notices a field that nobody described."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(Answer):
    type: str
    code: str
    message: str
    param: str | None


class ErrorDetail(ErrorBody):
    request_id: str | None


class ErrorAnswer(Answer):
    error: ErrorDetail


class LiveAnswer(Answer):
    status: Literal["alive"]


class HealthAnswer(Answer):
    ready: bool
    reasons: list[str]
    uptime_seconds: float
    collections: int


class ModelAnswer(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    summary: str | None
    space_id: str | None
    modalities: list[Modality]
    dim: int | None
    native_dims: dict[Modality, int]
    precision: str | None
    preprocessing: str | None
    licence: str | None
    source: str | None
    state: Literal["loaded", "ready", "unfetched", "missing"]
    missing: str | None


class GeneratorAnswer(Answer):
    """A generator, in OpenAI's list of models."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: Literal["generator"]
    default: bool
    summary: str | None
    inputs: list[Modality]
    outputs: list[Modality]
    context: int | None
    licence: str | None
    source: str | None
    state: Literal["ready", "missing"]
    missing: str | None


class ModelList(Answer):
    object: Literal["list"]
    data: list[ModelAnswer | GeneratorAnswer]


class CollectionAnswer(Answer):
    name: str
    space: str
    space_id: str
    dim: int
    index: str
    storage: Storage
    created: str
    items: int
    modalities: dict[Modality, int]
    failures: int


class CollectionList(Answer):
    collections: list[CollectionAnswer]


class AliasList(Answer):
    collection: str
    aliases: list[str]


class FailureAnswer(Answer):
    uri: str
    code: str
    message: str


class FailureList(Answer):
    failures: list[FailureAnswer]


class ItemAnswer(Answer):
    id: str
    record: str
    origin: Literal["observed", "generated"]
    collection: str
    modality: Modality
    digest: str
    uri: str | None
    title: str | None
    text: str | None
    metadata: dict[str, Any]


class ItemList(Answer):
    items: list[ItemAnswer]
    next_cursor: str | None


class UploadResult(Answer):
    id: str | None
    status: Literal["created", "failed"]
    modality: Modality | None
    items: dict[Modality, str]
    left_out: dict[Modality, str]
    error: ErrorBody | None = None


class UploadAnswer(Answer):
    results: list[UploadResult]


class MomentAnswer(Answer):
    fragment: int
    span: dict[str, Any] | None
    score: float


class HitAnswer(Answer):
    id: str
    record: str
    fragment: int
    origin: Literal["observed", "generated"]
    collection: str
    modality: Modality
    score: float | None
    probability: float | None
    rank_score: float
    uri: str | None
    title: str | None
    text: str | None
    span: dict[str, Any] | None
    metadata: dict[str, Any]
    found_by: list[Literal["vector", "words"]]
    group_size: int | None = None
    moments: list[MomentAnswer] | None = None
    vector: list[float] | None = None
    contributions: list[float] | None = None


class SearchFacts(Answer):
    exact: bool
    recall_estimate: float | None


class HitsAnswer(Answer):
    query: list[dict[str, Any]]
    hits: list[HitAnswer]
    search: SearchFacts
    timings_ms: dict[str, float]
    next_cursor: str | None


class BatchAnswer(Answer):
    results: list[HitsAnswer]


class EmbeddingAnswer(Answer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(Answer):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Answer):
    object: Literal["list"]
    model: str
    data: list[EmbeddingAnswer]
    usage: Usage


class JobAnswer(Answer):
    id: str
    kind: str
    request: dict[str, Any]
    state: JobState
    attempts: int
    pid: int | None
    created: str
    started: str | None
    ended: str | None
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    failures: list[FailureAnswer]
    failed: int
    error: dict[str, str] | None


class FailurePage(Answer):
    failures: list[FailureAnswer]
    next_cursor: str | None


class JobDetail(JobAnswer):
    log: list[str]


class JobList(Answer):
    jobs: list[JobAnswer]
