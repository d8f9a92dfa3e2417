"""`kizu-fast ingest`: registers and queues photos."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from kizu_fast.cli.output import print_json, remark
from kizu_fast.cli.status import AsJson, User
from kizu_fast.domain import Operation
from kizu_fast.ingest import IngestOrder, IngestReport, Progress
from kizu_fast.ingest import ingest as ingest_files
from kizu_fast.settings import Settings, load_settings, parse_operations
from kizu_fast.survey import survey
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.session import library_of

SHOWN = 20  # rejected files named for people; --json has all


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="folders or files, below LIBRARY_ROOT if that is set", metavar="PATH...")],
    operations: Annotated[str | None, typer.Option(help="what to do with them: all, or e.g. embedding,objects [default: KIZU_OPERATIONS]")] = None,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Register and queue photos. Run it again at any time.

    Known files cost nothing, changed ones are queued again, missing ones are reported and kept.

    Example: kizu-fast ingest ~/Pictures --operations embedding
    """
    settings = load_settings()
    try:
        wanted = tuple(settings.operations) if operations is None else parse_operations(operations)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--operations") from None
    order = IngestOrder(user or settings.user, wanted, settings.library_roots, settings.max_pixels, settings.max_file_bytes)
    with _progress() as bar:
        task = bar.add_task("photos", total=None)
        report = asyncio.run(_ingest(paths, settings, order, lambda done, total: bar.update(task, completed=done, total=total)))
    if as_json:
        print_json(report.as_json())
    _say(report, quiet=as_json)
    if report.queued:
        _say_missing(settings, wanted)
    if not any(path.exists() for path in paths):
        raise typer.Exit(1)


def _say_missing(settings: Settings, operations: tuple[Operation, ...]) -> None:
    """Once, before every photo says it."""
    missing = survey(engine_config(settings, operations)).missing
    for operation in operations:
        if operation in missing:
            remark(f"{operation} cannot be done yet, photos will fail it and keep the rest: {missing[operation]}")


async def _ingest(paths: list[Path], settings: Settings, order: IngestOrder, on_progress: Progress) -> IngestReport:
    async with library_of(settings) as library:
        return await ingest_files(paths, store=library.assets, order=order, on_progress=on_progress)


def _progress() -> ProgressBar:
    return ProgressBar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
    )


def _say(report: IngestReport, *, quiet: bool) -> None:
    if not quiet:
        remark(
            f"{report.registered} new, {report.known} known ({report.changed} changed, {report.moved} moved), {report.queued} queued, "
            f"{len(report.rejected)} not taken"
        )
    for rejected in report.rejected[:SHOWN]:
        remark(f"not taken: {rejected.path}: {rejected.reason}")
    if len(report.rejected) > SHOWN:
        remark(f"... and {len(report.rejected) - SHOWN} more; --json names all")
    if report.missing:
        remark(
            f"{report.missing} known photos are not there now (deleted, renamed, or a drive that is not mounted); "
            "nothing was removed, `kizu-fast forget PATH` does that"
        )
