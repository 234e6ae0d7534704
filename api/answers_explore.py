"""The shapes of answers about a collection as a whole, for the OpenAPI document only."""

from __future__ import annotations

from api.answers import Answer, ItemAnswer
from embed.types import Modality


class CountAnswer(Answer):
    count: int


class FacetAnswer(Answer):
    value: str | int | float | bool
    items: int


class BinAnswer(Answer):
    low: float
    high: float
    items: int


class FieldAnswer(Answer):
    field: str
    values: list[FacetAnswer]
    distinct: int
    items: int
    bins: list[BinAnswer]


class FacetsAnswer(Answer):
    facets: list[FieldAnswer]


class SampleAnswer(Answer):
    items: list[ItemAnswer]


class DeletedAnswer(Answer):
    deleted: int


class TwinsAnswer(Answer):
    cosine: float
    items: list[ItemAnswer]


class DuplicatesAnswer(Answer):
    groups: list[TwinsAnswer]


class ClusterAnswer(Answer):
    size: int
    cosine: float
    examples: list[ItemAnswer]


class ClustersAnswer(Answer):
    clusters: list[ClusterAnswer]


class OutlierAnswer(Answer):
    distance: float
    item: ItemAnswer


class OutliersAnswer(Answer):
    outliers: list[OutlierAnswer]


class SpotAnswer(Answer):
    id: str
    modality: Modality
    title: str | None
    x: float
    y: float
    cluster: int


class MapAnswer(Answer):
    spots: list[SpotAnswer]
