"""Search results as one HTML file to look at: thumbnails inside, no server, no network."""

import base64
import html
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from PIL import Image

from kizu_fast.cli.output import printable
from kizu_fast.domain import LIBRARY_OWNER, Asset
from kizu_fast.errors import KizuError
from kizu_fast.imaging import decode
from kizu_fast.search import Found
from kizu_fast.sources import LibrarySource

SIDE = 320

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>$title</title>
<style>
body { font: 15px system-ui, sans-serif; margin: 2rem; background: Canvas; color: CanvasText; color-scheme: light dark }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; height: 200px; object-fit: cover; border-radius: 6px; background: #8883 }
figcaption { overflow-wrap: anywhere } small { opacity: .7 }
</style></head><body><h1>$title</h1><p>$count</p><main>
$figures
</main></body></html>
""")


def write_contact_sheet(path: Path, query: str, photos: Sequence[Found], thumbnail: Callable[[Found], bytes | None]) -> None:
    """Write the page whole. thumbnail gives a JPEG, or None where the file cannot be read now. Raises OSError."""
    figures = "\n".join(_figure(rank, found, thumbnail(found)) for rank, found in enumerate(photos, start=1))
    count = f"{len(photos)} photo{'' if len(photos) == 1 else 's'}"
    part = path.with_name(path.name + ".part")
    part.write_text(_PAGE.substitute(title=html.escape(query), count=count, figures=figures), encoding="utf-8", errors="backslashreplace")
    part.replace(path)


def _figure(rank: int, found: Found, picture: bytes | None) -> str:
    name = html.escape(printable(Path(found.path or str(found.asset_id)).name))
    image = f'<img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' if picture else '<img alt="not readable now">'
    details = html.escape(", ".join(filter(None, [found.taken_at or "", ", ".join(found.objects)])))
    return f"<figure>{image}<figcaption>{rank}. {name}<br><small>{details}</small></figcaption></figure>"


def thumbnail_of(found: Found, roots: Sequence[Path], max_pixels: int, max_bytes: int) -> bytes | None:
    """A small JPEG of the upright photo; None where it cannot be read now."""
    if found.path is None:
        return None
    asset = Asset(id=found.asset_id, user_id=LIBRARY_OWNER, path=os.fsencode(found.path))
    try:
        data = LibrarySource(list(roots)).read(asset, max_bytes).data
        photo, _facts = decode(data, max_pixels=max_pixels, max_bytes=max_bytes, short_side=SIDE)
    except KizuError:
        return None
    picture = Image.fromarray(photo.pixels)
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()
