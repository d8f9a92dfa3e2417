"""`kizu-fast reindex`: queues photos again whose results come from other models than the settings name."""

import asyncio
from typing import Annotated

import typer

from kizu_fast.cli.output import print_json, remark
from kizu_fast.cli.status import AsJson, User
from kizu_fast.domain import Operation
from kizu_fast.settings import Settings, load_settings, parse_operations
from kizu_fast.store.library import Library
from kizu_fast.survey import survey
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.reruns import wanted_reruns
from kizu_fast.worker.session import library_of

_ANY_MODEL = ""  # no result is of it


def reindex(
    operations: Annotated[str | None, typer.Option(help="only these: all, or e.g. objects,ocr [default: every one that wants it]")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also photos whose results are of the model that the settings name")] = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Queue photos again after a setting such as YOLO_SIZE, OCR_MODEL or CLIP_MODEL has changed. The old results stay until the new ones replace them.

    Example: kizu-fast reindex --operations objects
    """
    settings = load_settings()
    try:
        wanted = tuple(Operation) if operations is None else parse_operations(operations)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--operations") from None

    async def ask() -> dict[Operation, int]:
        async with library_of(settings) as library:
            return await _queue(library, settings.model_copy(update={"user": user or settings.user}), wanted, everything=everything)

    queued = asyncio.run(ask())
    if as_json:
        print_json({"queued": sum(queued.values()), "operations": {str(operation): count for operation, count in queued.items()}})
        return
    for operation, count in queued.items():
        remark(f"{count} photo{'' if count == 1 else 's'} queued for {operation}")
    remark("run: kizu-fast worker --drain" if any(queued.values()) else "nothing to do: every result is of the model that the settings name")


async def _queue(library: Library, settings: Settings, wanted: tuple[Operation, ...], *, everything: bool) -> dict[Operation, int]:
    if everything:
        models = dict.fromkeys(wanted, _ANY_MODEL)
    else:
        found = survey(engine_config(settings, settings.operations))
        models = {rerun.operation: rerun.current for rerun in await wanted_reruns(library.coverage, found, settings, settings.user)}
    return {
        operation: await library.coverage.queue_outdated(settings.user, operation, model)
        for operation, model in models.items()
        if operation in wanted
    }
