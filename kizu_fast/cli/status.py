"""`kizu-fast status`: counts of the queue and of the rows."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from kizu_fast.cli.output import print_json, remark, table_console
from kizu_fast.settings import load_settings
from kizu_fast.store import LibraryCounts
from kizu_fast.survey import survey
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.reruns import Rerun, wanted_reruns
from kizu_fast.worker.session import library_of

SHOWN = 20  # errors of a summary

User = Annotated[UUID | None, typer.Option("--user", help="whose photos [default: KIZU_USER, else the library's owner]")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


def status(
    user: User = None,
    as_json: AsJson = False,
    summary: Annotated[bool, typer.Option("--summary", help="also objects by class and the last errors")] = False,
) -> None:
    """Count jobs and rows of one user's library, and say which photos want a re-run since a model was changed in the settings.

    Example: kizu-fast status --json
    """
    settings = load_settings()

    async def ask() -> tuple[LibraryCounts, list[Rerun], dict[str, int], list[str]]:
        async with library_of(settings) as library:
            owner = user or settings.user
            counts = await library.assets.counts(owner)
            reruns = await wanted_reruns(library.coverage, survey(engine_config(settings, settings.operations)), settings, owner)
            if not summary:
                return counts, reruns, {}, []
            return counts, reruns, await library.overview.objects_by_class(owner), await library.overview.last_errors(owner, SHOWN)

    counts, reruns, by_class, errors = asyncio.run(ask())
    if as_json:
        print_json({**counts.as_json(), **({"objects_by_class": by_class, "errors": errors} if summary else {})})
    else:
        _show(counts, by_class, errors)
    for rerun in reruns:
        remark(f"{rerun}; to do them again: {rerun.command}")


def _show(counts: LibraryCounts, by_class: dict[str, int], errors: list[str]) -> None:
    console = table_console()
    queue = counts.queue
    console.print(f"queue     {queue.pending} pending, {queue.processing} processing, {queue.completed} completed, {queue.failed} failed")
    console.print(f"photos    {counts.assets}, {counts.embeddings} with an embedding")
    console.print(f"found     {counts.objects} objects, {counts.faces} faces, {counts.texts} lines of text, {counts.captions} captions")
    if by_class:
        console.print("objects   " + ", ".join(f"{label} {n}" for label, n in by_class.items()), soft_wrap=True)
    for error in errors:
        console.print(f"failed    {error}", markup=False, soft_wrap=True)
