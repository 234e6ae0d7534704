"""The kinds of job that REST takes: for each the body of the request, and the command line it is.

One class a kind: a new one is written here and named in `KINDS`, and nowhere else.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from api.schemas import Wire
from api.schemas_explore import Format
from api.schemas_search import FilterField, Modalities, filter_of
from index.batch.remote import SCHEMES, scheme_of
from index.metadata.filter_text import filter_to_text

Precision = Literal["fp32", "fp16", "int8"]


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("it holds a NUL character")
    return value


def _absolute(value: str) -> str:
    if not PurePath(value).is_absolute():
        raise ValueError("an absolute path on the machine of the server is wanted")
    return value


def _source(value: str) -> str:
    return value if scheme_of(value) in SCHEMES else _absolute(value)


# Bounded: whoever may not fill the disk may still ask.
Word = Annotated[str, Field(max_length=1000), AfterValidator(_without_nul)]
ServerPath = Annotated[
    str, Field(max_length=4096), AfterValidator(_without_nul), AfterValidator(_absolute)
]
Source = Annotated[
    str, Field(max_length=4096), AfterValidator(_without_nul), AfterValidator(_source)
]


class JobBody(Wire):
    """What all kinds share.

    guarded: why a server must have been told to take it from clients; None where it need not.
    resume: words that are added when it goes on after it was broken off.
    """

    kind: str

    guarded: ClassVar[str | None] = "names paths on this machine"
    resume: ClassVar[tuple[str, ...]] = ()

    def words(self) -> list[str]:
        """The command and its arguments. Values are joined to their flags, whatever they begin
        with."""
        raise NotImplementedError

    def spaces(self) -> list[str]:
        """The spaces that it names."""
        return []

    @property
    def makes(self) -> str | None:
        """The name of the file that clients get from it, whose path is its last word."""
        return None


class IngestJob(JobBody):
    """Index files and folders of the server, archives, tables, and stores that it reaches."""

    kind: Literal["ingest"]
    paths: list[Source] = Field(min_length=1, max_length=1000)
    collection: Word = "default"
    space: Word | None = Field(None, description="Of a new collection; builtin when left out.")
    storage: Literal["float32", "float16"] | None = Field(
        None, description="Of a new collection; float32 when left out."
    )
    prune: bool = Field(False, description="Forget indexed files that are no longer there.")
    columns: Word | None = Field(None, description="Of tables: media=…,text=…,key=…,title=…")
    watch: float | None = Field(
        None, ge=0.1, le=86400, description="Seconds between two looks; until it is cancelled."
    )
    ray: Word | None = Field(None, description="Address of a Ray cluster; empty: the one at hand.")

    def words(self) -> list[str]:
        named = ("space", "storage", "columns", "ray", "watch")
        given = {name: getattr(self, name) for name in named}
        flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
        prune = ["--prune"] if self.prune else []
        return ["ingest", *self.paths, f"--collection={self.collection}", *flags, *prune]

    def spaces(self) -> list[str]:
        return [self.space] if self.space else []


class TrainJob(JobBody):
    """Train a space as a configuration file on the server says."""

    kind: Literal["train"]
    config: ServerPath
    collection: Word | None = Field(None, description="Learn from what this collection holds.")

    resume = ("--resume",)

    def words(self) -> list[str]:
        collection = [f"--collection={self.collection}"] if self.collection else []
        return ["train", self.config, *collection]


class MigrateJob(JobBody):
    """Embed a collection anew in another space; it serves as it is until that is done."""

    kind: Literal["migrate"]
    collection: Word
    space: Word
    drop: bool = Field(False, description="Leave behind what cannot be embedded.")
    keep: Word | None = Field(None, description="Keep the old one as a collection of this name.")

    guarded = None

    def words(self) -> list[str]:
        drop = ["--drop"] if self.drop else []
        keep = [f"--keep={self.keep}"] if self.keep else []
        flags = [f"--space={self.space}", *drop, *keep]
        return ["collections", "migrate", *flags, "--", self.collection]

    def spaces(self) -> list[str]:
        return [self.space]


class ExportJob(JobBody):
    """Write a space as ONNX files into a folder of the server."""

    kind: Literal["export"]
    space: Word
    folder: ServerPath
    precision: Precision = "fp32"
    check: ServerPath | None = Field(None, description="Media to measure lost neighbours with.")

    def words(self) -> list[str]:
        check = [f"--check={self.check}"] if self.check else []
        return ["export", f"--precision={self.precision}", *check, "--", self.space, self.folder]

    def spaces(self) -> list[str]:
        return [self.space]


class ExportItemsJob(JobBody):
    """Write the items of a collection and their vectors as a file, to be fetched from the job."""

    kind: Literal["export_items"]
    collection: Word = "default"
    filter: FilterField | None = None
    format: Format = "npz"

    guarded = None

    def words(self) -> list[str]:
        """Raises InvalidQuery for a filter that is none."""
        meant = filter_of(self.filter)
        filter_ = [f"--filter={filter_to_text(meant)}"] if meant else []
        return ["collections", "export", *filter_, "--", self.collection]

    @property
    def makes(self) -> str:
        return f"items.{self.format}"


class EvalJob(JobBody):
    """Measure how well the modalities of a collection find each other."""

    kind: Literal["eval"]
    collection: Word = "default"

    guarded = None

    def words(self) -> list[str]:
        return ["eval", "retrieval", f"--collection={self.collection}"]


class CalibrateJob(JobBody):
    """Learn from a collection how probable a match is in its space."""

    kind: Literal["calibrate"]
    collection: Word = "default"
    seed: int = Field(0, ge=0, lt=2**32)

    guarded = "decides what every collection of a space is told"

    def words(self) -> list[str]:
        return ["calibrate", f"--collection={self.collection}", f"--seed={self.seed}"]


class CompleteJob(JobBody):
    """Suppose what records of a collection lack, from others that have it."""

    kind: Literal["complete"]
    collection: Word = "default"
    missing: Modalities | None = Field(
        None, description="What to suppose; all that a record lacks when left out."
    )
    method: Literal["best", "mean", "synthesis"] = "best"

    guarded = None

    def words(self) -> list[str]:
        missing = [f"--missing={','.join(self.missing)}"] if self.missing else []
        return [
            *("complete", "--all", f"--collection={self.collection}"),
            *(f"--method={self.method}", *missing),
        ]


KINDS: dict[str, type[JobBody]] = {
    "ingest": IngestJob,
    "train": TrainJob,
    "migrate": MigrateJob,
    "export": ExportJob,
    "export_items": ExportItemsJob,
    "eval": EvalJob,
    "calibrate": CalibrateJob,
    "complete": CompleteJob,
}
