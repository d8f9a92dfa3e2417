"""Structured log lines on stderr: level, event, key=value. Set up once by a process's entry point."""

import logging
import sys

import structlog


def set_up_logs(*, debug: bool, quiet: bool = False) -> None:
    """INFO and above; quiet: only warnings; debug: everything, tracebacks included. Standard output is never touched."""
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    for library in ("asyncio", "asyncpg"):  # what a lost connection makes them say, tracebacks and all; our own line names the cause
        logging.getLogger(library).setLevel(logging.WARNING if debug else logging.CRITICAL)
    shorten = () if debug else (_without_traceback,)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shorten,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _without_traceback(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A user sees the cause in one line; --debug shows where it came from."""
    if event.pop("exc_info", None):
        error = sys.exc_info()[1]
        event["error"] = f"{type(error).__name__}: {error}"
        event["hint"] = "--debug shows the traceback"
    return event
