"""The same work on many machines: Ray Data actors that read, decode and embed members.

A worker answers at least once and writes nothing; the driver alone has the catalog, and commits by
(collection, uri, content digest), so what is answered twice is written once. Members go out in
waves; while one is out, the next is looked up. What a lost machine had in hand is done again, on
another; what was answered and committed is not. A member that ends its worker again and again fails
alone.

A worker reads for itself, so no stage of readers can starve when machines go; one core is left to
the driver, which passes over headers and writes. Ray's own guard ends a run that stands still. It
needs `ray[data]` 2.60 or later here and on every machine, and Crossbind of the same version; files
must be where all machines can read them.
"""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from embed import registry
from embed.batcher import Batcher
from embed.errors import (
    BackendFailed,
    CrossbindError,
    MissingDependency,
    NotAvailable,
    SpaceMismatch,
)
from embed.registry import LoadOptions
from embed.types import Embedder, Space
from index.batch.locations import Given
from index.batch.members import Member, failure
from index.batch.reading import Nothing, Outcome, begin, finish
from index.types import FATAL

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_WAVE = 8192
WAVE = 2**18
"""Members that are out at once, and as many are looked up meanwhile; about 1 KB each. Each wave has
workers of its own, so waves grow until the start of workers is little beside their work."""
WAVE_BYTES = 128 * 2**20
"""Of media that come along with their members, as those of tables do."""
BATCH = 32
OBJECT_STORE = 256 * 2**20
STRIKES = 2
"""Runs in which nothing at all was answered, before the rest of a wave is given up."""

log = logging.getLogger(__name__)


class Cluster:
    """`stream.Work` on the Ray cluster at `address`; None: the one at hand, or made here.

    most: workers at once, for a cluster that grows when it is asked for more; None: as many as it
    has cores, but one. load: makes the embedder of a worker; by default the space of its name with
    `options`, on one thread. stall: seconds without any progress after which it is given up.
    """

    def __init__(
        self,
        space: Space,
        options: LoadOptions,
        *,
        address: str | None = None,
        most: int | None = None,
        load: Callable[[], Embedder] | None = None,
        stall: float = 600.0,
    ) -> None:
        own = LoadOptions(cache=options.cache, threads=1, offline=options.offline)
        self._space = space
        self._load = load or partial(registry.load, space.name, own)
        self._address = address
        self._most = most
        self._stall = stall
        self._answered = False

    def __call__(self, members: Iterator[Member]) -> Generator[Outcome]:
        """Raises NotAvailable when there is no such cluster or it stands still, MissingDependency,
        and what a worker cannot load."""
        size, stop = FIRST_WAVE, threading.Event()
        wanted = takewhile(lambda _: not stop.is_set(), members)
        with _connected(self._address), ThreadPoolExecutor(1, "waves") as ahead:
            try:
                coming = ahead.submit(_wave, wanted, size)
                while wave := coming.result():
                    size = min(4 * size, WAVE)
                    coming = ahead.submit(_wave, wanted, size)
                    yield from self._answers(wave)
            finally:
                stop.set()  # and so nobody waits for a wave that is not wanted

    def _answers(self, wave: dict[str, Member]) -> Iterator[Outcome]:
        """Until every member of the wave was answered, or has failed."""
        batch, strikes, why = BATCH, 0, "no answer"
        while wave:
            waiting = len(wave)
            try:
                for outcome in self._run(list(wave.values()), batch):
                    self._answered = True
                    wave.pop(outcome.uri, None)
                    yield outcome
            except _StandsStill as error:
                if len(wave) > BATCH or not self._answered:
                    raise
                why = error.message  # of a few that nobody answers for
            except _lost() as error:
                why = f"{type(error).__name__}: {error}"
            strikes = strikes + 1 if len(wave) == waiting else 0
            if strikes == STRIKES:
                yield from self._give_up(wave, why)
                return
            if wave:
                log.warning("workers were lost, and %d members go out again: %s", len(wave), why)
            batch = 1  # so that one of them takes no others with it

    def _give_up(self, wave: dict[str, Member], why: str) -> Iterator[Outcome]:
        """Raises NotAvailable when no worker ever answered, or too many members are left: then it
        is not their fault."""
        if len(wave) > BATCH or not self._answered:
            raise NotAvailable(
                f"the workers end as soon as they begin ({why}); every machine wants Crossbind of "
                "the same version, with ray[data]"
            )
        for uri, member in wave.items():
            error = BackendFailed(f"{member.called}: its worker ended with it each time ({why})")
            yield Outcome(uri=uri, digest=None, failures=[failure(uri, error)])

    def _run(self, members: Sequence[Member], batch: int) -> Iterator[Outcome]:
        from ray import data  # noqa: PLC0415 (optional, and heavy)
        from ray.data.exceptions import ExecutionTimeoutError  # noqa: PLC0415
        from ray.util.annotations import RayDeprecationWarning  # noqa: PLC0415

        tables = [_pickled(members[at : at + batch]) for at in range(0, len(members), batch)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RayDeprecationWarning)  # of how retries are bounded
            dataset = data.from_arrow(tables).map_batches(
                Worker,
                fn_constructor_args=(self._load, self._space.id),
                batch_size=None,
                batch_format="pyarrow",
                compute=data.ActorPoolStrategy(min_size=1, max_size=self._most or _cores_but_one()),
                num_cpus=1,
                # A worker is always started again. What it had in hand goes round a few times, not
                # for ever, for it may be what ends it.
                max_restarts=-1,
                max_task_retries=3,
            )
        _configure(dataset.context, self._stall)
        try:
            answers: Iterable[Any] = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
            for answer in answers:
                yield from map(_outcome, answer.column(0).to_pylist())
        except ExecutionTimeoutError as error:
            raise _StandsStill(
                f"the cluster made no progress for {self._stall:.0f} s: see that it has free CPUs "
                "and that its workers can read the source, then run this again; what is committed "
                "stays"
            ) from error


class _StandsStill(NotAvailable):
    """Nothing moved for longer than is reasonable."""


class Worker:
    """An actor: one embedder, members in, answers out. It never raises, for Ray would repeat it."""

    def __init__(self, load: Callable[[], Embedder], space_id: str) -> None:
        self._error: CrossbindError | None = None
        try:
            embedder = load()
            if embedder.space.id != space_id:
                raise SpaceMismatch(
                    f"a worker has {embedder.space.id}, and the collection is in {space_id}: "
                    "install the same version and weights on every machine"
                )
            self._batcher = Batcher(embedder)
            self._pool = ThreadPoolExecutor(2)
        except CrossbindError as error:
            self._error = error

    def close(self) -> None:
        """Ends its threads; an actor that is not needed any more just goes."""
        self._pool.shutdown()
        self._batcher.close()

    def __call__(self, table: pa.Table) -> pa.Table:
        members = map(pickle.loads, table.column(0).to_pylist())
        return _pickled([self._answer(one) for one in self._begin(members)])

    def _begin(self, members: Iterator[Member]) -> list[Any]:
        if self._error is not None:
            return [self._error]
        work = partial(_begun, batcher=self._batcher)
        return list(self._pool.map(work, members))

    def _answer(self, begun: Any) -> object:
        try:
            return begun if isinstance(begun, CrossbindError) else finish(begun)
        except FATAL as error:
            return error


def _begun(member: Member, batcher: Batcher) -> object:
    try:
        return begin(member, Nothing(), batcher)
    except FATAL as error:
        return error


def _wave(members: Iterator[Member], most: int) -> dict[str, Member]:
    wave: dict[str, Member] = {}
    size = 0
    for member in islice(members, most):
        wave[member.uri] = member
        size += len(member.at.data) if isinstance(member.at, Given) else 0
        if size > WAVE_BYTES:
            break
    return wave


def _outcome(answer: bytes) -> Outcome:
    """Raises what the worker met, when the next member would meet it too."""
    outcome = pickle.loads(answer)  # noqa: S301  from our own worker
    if isinstance(outcome, CrossbindError):
        raise outcome
    assert isinstance(outcome, Outcome)
    return outcome


def _pickled(things: Sequence[object]) -> pa.Table:
    import pyarrow  # noqa: PLC0415 (optional)

    rows = pyarrow.array([pickle.dumps(thing) for thing in things], pyarrow.large_binary())
    return pyarrow.table({"pickled": rows})


def _cores_but_one() -> int:
    import ray  # noqa: PLC0415

    resources: Callable[[], Mapping[str, float]] = ray.cluster_resources
    return max(1, int(resources().get("CPU", 1)) - 1)


def _configure(context: Any, stall: float) -> None:
    context.execution_no_progress_timeout_s = stall
    context.max_errored_blocks = -1  # they go out again
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _lost() -> type[Exception]:
    from ray.exceptions import RayError  # noqa: PLC0415

    lost: type[Exception] = RayError
    return lost


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """One that this process is in already stays; another is left at the end."""
    try:
        import ray  # noqa: PLC0415 (optional, and heavy)
        import ray.data  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependency(
            "--ray needs Ray Data: pip install 'crossbind[distributed]'"
        ) from error
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(address=address or "auto", **quiet)
    except (ConnectionError, ValueError) as error:
        if address is not None:
            raise NotAvailable(f"there is no Ray cluster at {address!r}: {error}") from error
        ray.init(
            address="local", object_store_memory=OBJECT_STORE, include_dashboard=False, **quiet
        )
    try:
        yield
    finally:
        ray.shutdown()
