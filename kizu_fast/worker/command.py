"""The command line of a worker: options to values, signals to an orderly end, the report at the end."""

import asyncio
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, get_args

import structlog
import typer

from kizu_fast.settings import BackendName, load_settings, parse_operations
from kizu_fast.worker.logs import set_up_logs
from kizu_fast.worker.session import Outcome, WorkerRequest, work

log = structlog.get_logger()

INTERRUPTED = 130
EXAMPLES = """
Examples:

  kizu-fast worker                                  work until stopped

  kizu-fast worker --drain --report report.json     work until the queue is empty, then say what was done

  kizu-fast worker --operations embedding           take only jobs that ask for nothing else
"""


def worker(  # noqa: PLR0913, PLR0917  # one parameter per option
    backend: Annotated[
        str | None, typer.Option(help=f"who runs the models: {', '.join(get_args(BackendName))} [default: KIZU_BACKEND, else cpu]")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="end when no job is pending (backoff included) or processing")] = False,
    worker_id: Annotated[str | None, typer.Option(help="name in the queue and the logs [default: host and process]")] = None,
    poll_interval: Annotated[float, typer.Option(min=0.05, help="longest wait in seconds between two polls of an idle queue")] = 15.0,
    operations: Annotated[str | None, typer.Option(help="claim only jobs that ask for nothing else, e.g. embedding,objects")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 when a photo failed")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="log more, tracebacks included")] = False,
    report: Annotated[Path | None, typer.Option(help="write what was done as JSON to this file")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="serve /metrics for Prometheus on KIZU_METRICS_HOST, by default this machine only")
    ] = None,
) -> None:
    """Process the queue: photos in, rows out. Ctrl-C or SIGTERM finishes or gives back what is in flight; a second signal leaves at once."""
    settings = load_settings()
    set_up_logs(debug=debug or settings.debug)
    if backend is not None:
        if backend not in get_args(BackendName):
            raise typer.BadParameter(f"{backend!r} is none of {', '.join(get_args(BackendName))}", param_hint="--backend")
        settings = settings.model_copy(update={"backend": backend})
    if metrics_port is not None:
        settings = settings.model_copy(update={"metrics_port": metrics_port})
    request = WorkerRequest(
        settings=settings,
        worker_id=worker_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        poll_s=poll_interval,
        drain=drain,
        operations=_operations(operations),
        report=report,
    )
    if report is not None and not report.absolute().parent.is_dir():
        raise typer.BadParameter(f"{report.absolute().parent} is no folder", param_hint="--report")
    outcome, interrupted = run_until_signal(lambda stop: work(request, stop))
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if strict and outcome.failed:
        raise typer.Exit(1)


worker.__doc__ = (worker.__doc__ or "") + EXAMPLES


def _operations(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        return parse_operations(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--operations") from None


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, Outcome]]) -> tuple[Outcome, bool]:
    """Run main on uvloop where it exists. The first SIGINT or SIGTERM sets its event, the second ends the process at once. True: it was SIGINT."""
    interrupted = False

    async def guarded() -> Outcome:
        stop = asyncio.Event()

        def on_signal(number: int) -> None:
            nonlocal interrupted
            if stop.is_set():
                sys.stderr.write("left at once; jobs in flight come back when their leases end\n")
                sys.stderr.flush()
                os._exit(INTERRUPTED)
            interrupted = number == signal.SIGINT
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await main(stop)

    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        return runner.run(guarded()), interrupted


def new_event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's factory, or None for asyncio's own where uvloop does not exist (Windows)."""
    try:
        import uvloop  # noqa: PLC0415  # absent on Windows
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
