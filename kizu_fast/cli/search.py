"""`kizu-fast search`: ranked photos as a table, JSON, or a page to look at."""

import asyncio
import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from kizu_fast.cli.contact_sheet import thumbnail_of, write_contact_sheet
from kizu_fast.cli.output import print_json, printable, remark, table_console
from kizu_fast.cli.status import AsJson, User
from kizu_fast.domain import Embedding
from kizu_fast.engine import open_engine
from kizu_fast.search import Answer
from kizu_fast.search import search as search_photos
from kizu_fast.settings import Settings, load_settings
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.session import library_of, say_random


def search(
    query: Annotated[str, typer.Argument(help='what to look for, e.g. "a dog on a beach"')],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="photos at most")] = 20,
    open_file: Annotated[Path | None, typer.Option("--open", help="write the results as one HTML page with thumbnails", metavar="FILE.html")] = None,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Find photos by what they show, by words that stand in them, and by their captions. No hit is no error.

    Words in quotes have to stand in the photo.

    Example: kizu-fast search "two people on a boat" --limit 5 --open boat.html, kizu-fast search 'a sign that says "EXIT"'
    """
    settings = load_settings()
    answer, roots = asyncio.run(_search(query, limit, settings, user))
    if open_file is not None:
        write_contact_sheet(open_file, query, answer.photos, lambda found: thumbnail_of(found, roots, settings.max_pixels, settings.max_file_bytes))
        remark(f"wrote {open_file}")
    if as_json:
        print_json(_document(answer))
    else:
        _show(answer)


async def _search(query: str, limit: int, settings: Settings, user: UUID | None) -> tuple[Answer, list[Path]]:
    async with library_of(settings) as library, open_engine(engine_config(settings, ())) as engine:

        async def embed(text: str, space: str) -> Embedding:
            return await engine.embed_text(text, space=space)

        answer = await search_photos(query, user=user or settings.user, limit=limit, stores=(library.search, library.spaces), embed_text=embed)
        say_random(engine)
        roots = settings.library_roots or [Path(os.fsdecode(root)) for root in await library.assets.roots()]
        return answer, list(roots)


def _document(answer: Answer) -> dict[str, object]:
    return {
        "query": answer.query,
        "understood": {
            "semantic": answer.understood.semantic,
            "objects": list(answer.understood.objects),
            "text": list(answer.understood.text),
            "words": list(answer.understood.words),
            "used": list(answer.used),
        },
        "results": [
            {
                "asset_id": str(found.asset_id),
                "path": found.path,
                "score": found.score,
                "taken_at": found.taken_at,
                "objects": list(found.objects),
                "faces": [{"cluster": None if face.cluster is None else str(face.cluster), "name": face.name} for face in found.faces],
                "text": found.text,
            }
            for found in answer.photos
        ],
    }


def _show(answer: Answer) -> None:
    understood = [*answer.understood.objects, *(f'the text "{text}"' for text in answer.understood.text)]
    if understood:
        remark(f"understood: {', '.join(understood)}")
    if not answer.photos:
        remark("no photo found; `kizu-fast status` says whether any was processed")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("score", "taken", "objects", "text", "photo"):
        table.add_column(column, overflow="fold")
    for found in answer.photos:
        path = escape(printable(found.path or str(found.asset_id)))
        table.add_row(f"{found.score:.4f}", found.taken_at or "", ", ".join(found.objects), escape(found.text or ""), path)
    table_console().print(table)
