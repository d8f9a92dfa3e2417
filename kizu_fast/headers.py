"""What a file is, by its content, and how large the picture in it says it is. Nothing here decodes pixels or allocates for them."""

import binascii
import ctypes
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from struct import error as struct_error
from struct import unpack_from

import pillow_heif
from PIL import Image, ImageFile, UnidentifiedImageError

from kizu_fast.errors import ImageTooLarge, ImageUnreadable

# Pillow's names of the formats that are opened, with their types. A closed list: no Ghostscript, no meteorology, no video.
# TGA has no signature and comes last.
MIME_TYPES: Mapping[str, str] = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "ICO": "image/x-icon",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
    "PSD": "image/vnd.adobe.photoshop",
    "QOI": "image/qoi",
    "TGA": "image/x-tga",
}
_OPENED = tuple(kind for kind in MIME_TYPES if kind != "MPO")  # which is opened as JPEG and then turns out to be one
_EXTENSIONS = re.compile(
    "jpe?g|jpe|jfif|mpo|a?png|gif|webp|hei[cf]s?|hif|avifs?|tiff?|bmp|dib|ico|jp2|j2[kc]|jp[fx]|p[bgnp]m|psd|qoi|tga|jxl|svg"
    "|dng|cr[23]|nef|arw|orf|rw2|raf|pef|srw"  # raw files hold a preview at best, but their owner takes them for photos
)
_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\x00|MM\x00[*+]|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51|8BPS\x00\x01|qoif|P[1-6]\s"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00|\x00\x00\x01\x00[\x01-\x40]\x00"
    rb"|....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs]|crx )|\x00\x00\x00\x0cJXL |\xff\x0a",
    re.DOTALL,
)
# Kinds that users take for pictures and that nothing here decodes: the reason should say so.
_UNSUPPORTED = (
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL is not supported"),
    (
        re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL),
        "SVG drawings are not supported",
    ),
    (re.compile(rb"\s*<(?:!doctype\s+)?html", re.IGNORECASE), "it is a web page, not a picture"),
    (re.compile(rb"\s*%PDF-"), "it is a PDF, not a picture"),
    (
        re.compile(rb"....ftyp(?!hei[cxms]|hev[cx]|mif1|msf1|avi[fs])", re.DOTALL),
        "it is a video or an unsupported raw file, not a picture",
    ),
    (re.compile(rb"\x00*\Z"), "it begins with nothing but zeros, as half-copied files do"),
)

# What Pillow and its plugins raise for damaged files. 350,000 mutated files of every kind brought OSError, SyntaxError, ValueError, RuntimeError and
# EOFError; the others are those that Pillow itself expects of its plugins, and what arithmetic on absurd sizes gives.
PILLOW_FAULTS = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError,
    TypeError, LookupError, ArithmeticError, AssertionError, MemoryError, struct_error, zlib.error,
)  # fmt: skip

_QUIET = ("ignore", None, Warning, re.compile("PIL|pillow_heif"), 0)
_MAX_RAW_PROFILE = 1_000_000
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})

pillow_heif.register_heif_opener(thumbnails=False)


def _silence_libtiff() -> None:
    """Libtiff prints every fault of a damaged file to stderr, amid the progress bar, where it stands inside Pillow as a library of its own."""
    folder = Path(Image.__file__).parent
    for library in (*folder.parent.glob("[Pp]illow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)


_silence_libtiff()


def looks_like_picture(head: bytes, name: str) -> bool:
    """Whether a file is one by its first bytes (64 are enough) or, failing that, by its name: a broken photo is still a photo."""
    return _SIGNATURE.match(head) is not None or _EXTENSIONS.fullmatch(name.rpartition(".")[2].lower()) is not None


def open_picture(data: bytes, *, max_pixels: int, max_bytes: int) -> Image.Image:
    """An unloaded Pillow picture within the caps. Raises ImageTooLarge or ImageUnreadable."""
    if len(data) > max_bytes:
        raise too_many_bytes(len(data), max_bytes)
    if not data:
        raise ImageUnreadable("the file is empty")
    settle_pillow(max_pixels)
    try:
        image = Image.open(io.BytesIO(_without_text(data)), formats=_OPENED)
    except UnidentifiedImageError:
        raise ImageUnreadable(_unsupported(data) or "it is no picture of a known kind, or its header is damaged") from None
    except Image.DecompressionBombError as error:
        declared = re.search(r"\d+", str(error))
        count = f"{int(declared[0]) / 1e6:.0f} megapixels" if declared else "far more pixels"
        raise ImageTooLarge(f"its header declares {count}, more than KIZU_MAX_PIXELS={max_pixels} allows") from None
    except PILLOW_FAULTS as error:
        raise unreadable("its header is damaged", error) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageUnreadable(f"its header declares {width} x {height} pixels")
    if width * height > max_pixels:
        raise ImageTooLarge(f"{width} x {height} = {width * height / 1e6:.1f} megapixels, more than KIZU_MAX_PIXELS={max_pixels} allows")
    return image


def too_many_bytes(size: int, max_bytes: int) -> ImageTooLarge:
    """The error for a file over the cap on bytes."""
    return ImageTooLarge(f"the file has {size} bytes, more than KIZU_MAX_FILE_BYTES={max_bytes} allows")


def unreadable(what: str, error: BaseException) -> ImageUnreadable:
    """One line with the cause; addresses of objects and line breaks are taken out."""
    cause = re.sub(r"<[^>]* at 0x[0-9a-f]+>", "", " ".join(str(error).split()))[:160].strip()
    return ImageUnreadable(f"{what} ({cause or type(error).__name__})")


def settle_pillow(max_pixels: int) -> None:
    """Pillow's process-wide switches as decoding needs them, whatever was imported or set since.

    Truncated files are refused. The cap on pixels is checked above; Pillow's own stays as a guard for pictures nested in others (ICO), and must
    not be tighter than ours. Its warnings concern nobody who has 100,000 photos, and must not turn into errors.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, -(-max_pixels // 2))  # it raises above twice this
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


def exif_block(image: Image.Image, data: bytes) -> bytes:
    """The TIFF-structured block that states the facts of an opened picture; empty if there is none."""
    if image.format == "TIFF":
        return data
    block = image.info.get("exif")
    if not block and image.format == "PNG":
        block = _late_png_exif(data)
    return block if isinstance(block, bytes) else b""


def xmp_packet(image: Image.Image) -> bytes:
    """The XMP packet of an opened picture; empty if there is none."""
    packet = image.info.get("xmp")
    return packet if isinstance(packet, bytes) else b""


def _unsupported(data: bytes) -> str | None:
    return next((reason for pattern, reason in _UNSUPPORTED if pattern.match(data, 0, 4096)), None)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte, one past the last) of each chunk of a PNG, length field and checksum included."""
    start = 8
    while start + 12 <= len(data):
        length, kind = unpack_from(">I4s", data, start)
        yield kind, start, min(start + 12 + length, len(data))
        start += 12 + length


def _without_text(data: bytes) -> bytes:
    """A PNG without its texts: a few bytes can inflate to any size there (Pillow then refuses the picture), and nothing here reads them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    view, kept, end = memoryview(data), [], 0
    for kind, start, stop in _png_chunks(data):
        if kind in _TEXT_CHUNKS:
            kept.append(view[end:start])
            end = stop
    return b"".join([*kept, view[end:]]) if kept else data


def _late_png_exif(data: bytes) -> bytes:
    """EXIF that stands behind the pixels of a PNG, or in ImageMagick's text form."""
    for kind, start, stop in _png_chunks(data):
        if kind == b"eXIf":
            return data[start + 8 : stop - 4]
        if kind in _TEXT_CHUNKS and data[start + 8 : start + 29] == b"Raw profile type exif":
            return _raw_profile(kind, data[start + 30 : stop - 4])
    return b""


def _raw_profile(kind: bytes, text: bytes) -> bytes:
    """A line 'exif', a line with the length, then hexadecimal digits; deflated in a zTXt chunk."""
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MAX_RAW_PROFILE)
        return binascii.unhexlify(b"".join(text.split()[2:]))
    except (zlib.error, binascii.Error):
        return b""
