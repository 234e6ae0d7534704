"""What `ingest` is pointed at, taken to those who read it: the walk, the stream, or Ray."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from embed.batcher import Batcher
from embed.errors import BadInput
from embed.registry import LoadOptions
from index.batch.ingest import Progress, ingest
from index.batch.members import Source
from index.batch.objects import Files
from index.batch.sources import open_sources
from index.batch.stream import Threads, Work, ingest_sources, together
from index.batch.tables import parse_columns
from index.collection import Collection
from index.types import IngestReport


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToIngest:
    """workers: threads that read and decode, or on Ray, workers; None: the cores. prune: forget
    indexed files that are gone. columns: what the columns of tables are
    (`index.batch.tables.parse_columns`). ray: the address of a cluster to work on, "" for the one
    at hand or one made here; None for this process.
    """

    workers: int | None = None
    prune: bool = False
    columns: str | None = None
    ray: str | None = None


def index_all(
    addresses: Sequence[str | Path],
    target: Collection,
    batcher: Batcher,
    options: LoadOptions,
    how: HowToIngest,
    progress: Callable[[Progress], None] | None,
) -> IngestReport:
    """Raises what `open_sources`, `ingest` and `ingest_sources` raise."""
    files, streams = open_sources(addresses, parse_columns(how.columns))
    if how.prune and (streams or how.ray is not None):
        raise BadInput(
            "--prune forgets files that are gone from folders of this machine, and goes with "
            "nothing else: leave it out, or ingest the folders on their own",
            param="prune",
        )
    if how.ray is not None:
        sources: list[Source] = [Files(files)] if files else []
        work = _on_ray(how, target, options)
        with redirect_stdout(
            sys.stderr
        ):  # where Ray tells of lost machines; stdout is our answer's
            return ingest_sources([*sources, *streams], target, work, progress=progress)
    workers = how.workers or options.threads
    reports = []
    if files:
        reports.append(
            ingest(files, target, batcher, workers=workers, prune=how.prune, progress=progress)
        )
    if streams:
        threads = Threads(target, batcher, workers)
        reports.append(ingest_sources(streams, target, threads, progress=progress))
    return reports[0] if len(reports) == 1 else together(reports)


def _on_ray(how: HowToIngest, target: Collection, options: LoadOptions) -> Work:
    from index.batch.distributed import Cluster  # noqa: PLC0415 (loads Ray)

    return Cluster(target.info.space, options, address=how.ray or None, most=how.workers)
