"""`kizu-fast show`: all that is known of one photo."""

import asyncio
from typing import Annotated

import typer

from kizu_fast.cli.lookup import find_asset
from kizu_fast.cli.output import print_json, printable, table_console
from kizu_fast.cli.status import AsJson, User
from kizu_fast.errors import PermanentError
from kizu_fast.settings import load_settings
from kizu_fast.store.details import AssetDetails
from kizu_fast.worker.session import library_of


def show(
    photo: Annotated[str, typer.Argument(help="path or asset id; a path is looked up by name, then by its bytes", metavar="PATH|ASSET_ID")],
    vectors: Annotated[bool, typer.Option("--vectors", help="with the embedding itself")] = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Print all that is known of one photo. Boxes are x0, y0, x1, y1 in pixels of the upright original. An unknown photo is exit 1.

    Example: kizu-fast show ~/Pictures/a.jpg
    """
    settings = load_settings()

    async def ask() -> AssetDetails:
        async with library_of(settings) as library:
            owner = user or settings.user
            asset = await find_asset(library.assets, owner, photo)
            details = await library.assets.details(owner, asset.id, vectors=vectors)
            if details is None:
                raise PermanentError(f"{photo} was forgotten a moment ago")
            return details

    details = asyncio.run(ask())
    if as_json:
        print_json(details.as_json(vectors=vectors))
    else:
        _show(details)


def _show(details: AssetDetails) -> None:
    console = table_console()

    def line(name: str, value: object) -> None:
        if value is not None:
            console.print(f"{name:<10} {printable(str(value))}", markup=False)

    line("photo", details.path)
    line("id", details.asset_id)
    line("size", f"{details.width} x {details.height}, EXIF orientation {details.orientation}" if details.width else "unknown")
    line("taken", details.taken_at)
    line("where", details.gps and f"{details.gps[0]:.5f}, {details.gps[1]:.5f}")
    if details.job:
        line("job", f"{details.job.status}, attempt {details.job.attempts}" + (f": {details.job.error}" if details.job.error else ""))
    line("embedding", details.embedding and f"{details.embedding.model}, {details.embedding.dim} dimensions")
    if details.embedding and details.embedding.vector:
        line("vector", " ".join(f"{value:.4f}" for value in details.embedding.vector))
    for found in details.objects:
        line("object", f"{found.label} {found.score:.2f} at {', '.join(f'{side:.0f}' for side in found.box)}")
    for face in details.faces:
        line("face", f"{face.score:.2f} at {', '.join(f'{side:.0f}' for side in face.box)}")
