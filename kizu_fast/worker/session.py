"""One worker's life: open the library and the engine, work, report, close. Composition only; the loop is in loop.py."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from kizu_fast.budget import ByteBudget
from kizu_fast.domain import Job, Operation
from kizu_fast.engine import Engine, open_engine
from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.settings import Settings
from kizu_fast.store.library import Library, open_library
from kizu_fast.store.listen import Wakeup
from kizu_fast.survey import survey
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.loop import OnSettled, Worker, WorkerOptions
from kizu_fast.worker.photo import PhotoProcess
from kizu_fast.worker.progress import ProgressView
from kizu_fast.worker.report import Tally, report, write_whole
from kizu_fast.worker.reruns import wanted_reruns
from kizu_fast.worker.roots import LibraryRoots
from kizu_fast.worker.settling import Ending, Failed
from kizu_fast.worker.spaces import SpaceKeeper

log = structlog.get_logger()

BYTES_IN_FLIGHT = 384_000_000  # files and decoded pixels of all photos at once; a larger one passes alone
BACKEND_WAIT_S = 30.0  # a Triton server that starts beside us loads its models first
_LOOK_S = 1.0
_SWEEP_S = 10.0  # what the sweep of thumbnails may still take when the work is done


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """What the command line asked for."""

    settings: Settings
    worker_id: str
    poll_s: float
    drain: bool
    operations: tuple[str, ...] | None
    report: Path | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Jobs that this worker ended."""

    completed: int
    failed: int


@asynccontextmanager
async def library_of(settings: Settings) -> AsyncIterator[Library]:
    """The library that the settings name."""
    url = settings.database_url.get_secret_value() if settings.database_url else None
    async with open_library(url, settings.data_dir, settings.pg_user, settings.db_pooler) as library:
        yield library


async def work(request: WorkerRequest, stop: asyncio.Event) -> Outcome:
    """Until stop is set, or the queue is drained. Raises ConfigError when the process cannot do its job at all."""
    settings, tally = request.settings, Tally()
    config = engine_config(settings, tuple(request.operations or settings.operations), backend_wait_s=BACKEND_WAIT_S)
    async with library_of(settings) as library, open_engine(config) as engine:
        say_random(engine)
        for operation, reason in engine.unavailable.items():
            log.warning("operation unavailable: photos that ask for it will fail it and keep the rest", operation=operation, reason=reason)
        filling = (Operation.EMBEDDING, Operation.FACES)
        keepers = [SpaceKeeper(library.spaces, library.queue, engine.space_of(operation), operation) for operation in filling]
        for keeper in keepers:
            await keeper.prepare()
        await _say_reruns(library, settings)
        await _work(request, library, engine, keepers, tally, stop)
        document = report(tally, engine.stats())
    if request.report is not None:
        write_whole(request.report, document)
    log.info("done", completed=tally.completed, failed=tally.failed, retried=tally.retried, photos_per_second=document["photos_per_second"])
    return Outcome(tally.completed, tally.failed)


async def _say_reruns(library: Library, settings: Settings) -> None:
    """Photos of other models than the settings name: said with the command. Results of random weights are replaced without a question."""
    for rerun in await wanted_reruns(library.coverage, survey(engine_config(settings, settings.operations)), settings, None):
        if rerun.out_of_nothing:
            queued = await library.coverage.queue_outdated(None, rerun.operation, rerun.current)
            log.info("replacing results of random weights", operation=rerun.operation, model=rerun.current, photos=queued)
        else:
            log.warning("photos want a re-run", reason=str(rerun), fix=rerun.command)


async def _work(request: WorkerRequest, library: Library, engine: Engine, keepers: Sequence[SpaceKeeper], tally: Tally, stop: asyncio.Event) -> None:
    settings = request.settings
    roots = LibraryRoots(settings.library_roots, library.assets)
    process = PhotoProcess(engine, roots, ByteBudget(BYTES_IN_FLIGHT), settings.max_file_bytes, tally)
    options = WorkerOptions(
        worker_id=request.worker_id,
        slots=engine.photos_wanted,
        lease_s=settings.lease_s,
        poll_s=request.poll_s,
        drain=request.drain,
        operations=request.operations,
    )
    wakeup = Wakeup(library.database)
    with ProgressView(tally) as view, ExitStack() as stack:
        worker = Worker((library.queue, library.results), process, wakeup.event, options, tally, _say_failure(view))
        watching: list[Coroutine[Any, Any, None]] = []
        if settings.metrics_port:
            from kizu_fast.worker.metrics import Metrics, served  # noqa: PLC0415  # only where it is asked for: prometheus_client starts with work of its own

            shown = Metrics(settings.backend, engine, tally, worker)
            stack.enter_context(served(shown, settings.metrics_host, settings.metrics_port))
            watching.append(shown.watch(library.overview.backlog))
        async with asyncio.TaskGroup() as tasks:
            services = [
                tasks.create_task(service)
                for service in (_look(view, library, request.operations), *(keeper.run() for keeper in keepers), wakeup.run(), *watching)
            ]
            sweeping = tasks.create_task(_sweep_thumbnails(library))
            try:
                await worker.run(stop)
                await asyncio.wait([sweeping], timeout=_SWEEP_S)
            finally:
                sweeping.cancel()
                for service in services:
                    service.cancel()
    with suppress(DatabaseUnavailable):
        for keeper in keepers:
            await keeper.switch()


async def _look(view: ProgressView, library: Library, operations: tuple[str, ...] | None) -> None:
    """Tell the progress view how much is left, now and then. Only a hint: an outage is the loop's business."""
    while True:
        left = None
        with suppress(DatabaseUnavailable):
            left = await library.queue.unfinished(operations)
        view.update(left)
        await asyncio.sleep(_LOOK_S)


async def _sweep_thumbnails(library: Library) -> None:
    """Once, beside the work: files of faces that are gone, since a process died at the wrong moment or another machine forgot their photo."""
    with suppress(DatabaseUnavailable):
        try:
            gone = await library.thumbnails.sweep()
        except ConfigError as error:
            log.warning("thumbnails of faces that are gone are still there", reason=str(error))
        else:
            if gone:
                log.info("thumbnails of faces that are gone deleted", files=gone)


def _say_failure(view: ProgressView) -> OnSettled:
    def settled(_job: Job, status: str, ending: Ending) -> None:
        if status in ("failed", "pending") and isinstance(ending, Failed):
            view.print_above(f"{'failed' if status == 'failed' else 'will be tried again'}: {ending.error}")

    return settled


def say_random(engine: Engine) -> None:
    """Once per process: results of random weights mean nothing, and the command that mends it."""
    if engine.random_models:
        log.warning(
            "results are meaningless: random weights",
            models=" ".join(engine.random_models),
            fix="make export WEIGHTS=dir, or make export with internet",
        )
