"""EXIF facts out of a TIFF-structured block. A small reader of its own: it never raises, warns, loops or follows more than two pointers.

Only what a photo states about itself is taken. What cannot be (month 13, latitude 999, 0/0, an offset of +99:99) is None; what is
merely unlikely (a scan dated 1899, a camera whose clock says 2150) is kept as stated.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

_SIZES: Mapping[int, int] = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
_CODES: Mapping[int, str] = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONALS: Mapping[int, str] = {5: "II", 10: "ii"}
_TEXTS = frozenset({1, 2, 7, 129})

_MAKE, _MODEL, _ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x010F, 0x0110, 0x0112, 0x8769, 0x8825
_TAKEN, _OFFSET = 0x9003, 0x9011
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE, _ALTITUDE_REF, _ALTITUDE = 1, 2, 3, 4, 5, 6
_WANTED_ROOT = frozenset({_MAKE, _MODEL, _ORIENTATION, _EXIF_IFD, _GPS_IFD})
_WANTED_EXIF = frozenset({_TAKEN, _OFFSET})
_WANTED_GPS = frozenset({_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE, _ALTITUDE_REF, _ALTITUDE})

_ORIENTATIONS = range(1, 9)
_BIG_TIFF = 43
_HEADER_BYTES = 8  # the marker of byte order and kind, and the offset of the first directory
_BIG_HEADER_BYTES = 16
_MAX_VALUE_BYTES = 4096  # of one wanted tag; a longer camera name is no name
_MAX_TEXT = 200
_ALTITUDE_RANGE_M = (-12_000.0, 100_000.0)  # deepest sea to the edge of space
_OFFSET_RANGE_MINUTES = (-12 * 60, 14 * 60)

_DATE = re.compile(r"\s*(\d{4})[:\-/.](\d{2})[:\-/.](\d{2})[ T](\d{2}):(\d{2}):(\d{2})(?!\d)")
_UTC_OFFSET = re.compile(r"\s*([+-])(\d{2}):?(\d{2})\s*$")
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """What an EXIF block states; None: not stated, or impossible. orientation is 1..8, or None if there is no such tag."""

    orientation: int | None = None
    taken_at_local: datetime | None = None
    utc_offset_minutes: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    camera_make: str | None = None
    camera_model: str | None = None


@dataclass(frozen=True, slots=True)
class _Value:
    """The raw bytes of one tag, byte order '<' or '>'."""

    kind: int
    raw: bytes
    order: str

    def text(self) -> str:
        """The text without NULs and control characters, UTF-8 or else Latin-1: PostgreSQL stores neither NULs nor broken UTF-8."""
        if self.kind not in _TEXTS:
            return ""
        try:
            text = self.raw.decode()
        except UnicodeDecodeError:
            text = self.raw.decode("latin-1")
        return "".join(letter for letter in text if letter.isprintable()).strip()[:_MAX_TEXT]

    def numbers(self) -> list[float | None]:
        """One number each; None for a fraction over zero."""
        if pair := _RATIONALS.get(self.kind):
            return [above / below if below else None for above, below in struct.iter_unpack(self.order + pair, self.raw)]
        if code := _CODES.get(self.kind):
            return [number for (number,) in struct.iter_unpack(self.order + code, self.raw)]
        return []

    def pointer(self) -> int:
        """The offset of another directory; 0 if this is none."""
        first = next(iter(self.numbers()), None)
        return first if isinstance(first, int) else 0


_Tags = Mapping[int, _Value]


def read_exif(block: bytes) -> ExifFacts:
    """Facts of an EXIF block (with or without the leading 'Exif' marker) or of a whole TIFF file. Damage means fewer facts, never an error."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < _HEADER_BYTES:
        return ExifFacts()
    big = struct.unpack_from(order + "H", block, 2)[0] == _BIG_TIFF
    if big and len(block) < _BIG_HEADER_BYTES:
        return ExifFacts()
    first = struct.unpack_from(order + ("Q" if big else "I"), block, 8 if big else 4)[0]
    root = _directory(block, order, first, _WANTED_ROOT, big=big)
    exif = _directory(block, order, root[_EXIF_IFD].pointer(), _WANTED_EXIF, big=big) if _EXIF_IFD in root else {}
    gps = _directory(block, order, root[_GPS_IFD].pointer(), _WANTED_GPS, big=big) if _GPS_IFD in root else {}
    taken = _moment(_text(exif, _TAKEN))
    latitude, longitude = _position(gps)
    return ExifFacts(
        orientation=_orientation(root),
        taken_at_local=taken,
        utc_offset_minutes=_utc_offset(_text(exif, _OFFSET)) if taken else None,
        latitude=latitude,
        longitude=longitude,
        altitude_m=_altitude(gps),
        camera_make=_text(root, _MAKE) or None,
        camera_model=_text(root, _MODEL) or None,
    )


def xmp_orientation(xmp: bytes) -> int | None:
    """The orientation that an XMP packet states, for files whose EXIF has none; None if there is none or it is no 1..8."""
    found = _XMP_ORIENTATION.search(xmp)
    number = int(found[1]) if found else 0
    return number if number in _ORIENTATIONS else None


def _directory(block: bytes, order: str, start: int, wanted: frozenset[int], *, big: bool) -> dict[int, _Value]:
    """The wanted tags of the directory at `start`; entries whose values lie outside the block are left out."""
    return {tag: value for tag, value in _entries(block, order, start, wanted, big=big) if value is not None}


def _entries(block: bytes, order: str, start: int, wanted: frozenset[int], *, big: bool) -> Iterator[tuple[int, _Value | None]]:
    head, step, field = ("Q", 20, "Q") if big else ("H", 12, "I")
    table = start + struct.calcsize(order + head)
    if start < _HEADER_BYTES or table > len(block):
        return
    count = min(struct.unpack_from(order + head, block, start)[0], (len(block) - table) // step)
    for place in range(table, table + count * step, step):
        tag, kind, length = struct.unpack_from(f"{order}HH{field}", block, place)
        if tag in wanted:
            yield tag, _value(block, order, (kind, length), place + step - struct.calcsize(field), field)


def _value(block: bytes, order: str, shape: tuple[int, int], place: int, field: str) -> _Value | None:
    """The bytes of one entry; its shape is (type, count). Values that fit stand in the entry itself at `place`, others where it points."""
    kind, length = shape
    size = _SIZES.get(kind, 0) * length
    if not 0 < size <= _MAX_VALUE_BYTES:
        return None
    if size > struct.calcsize(field):
        place = struct.unpack_from(order + field, block, place)[0]
    raw = block[place : place + size]
    return _Value(kind, raw, order) if len(raw) == size else None


def _text(tags: _Tags, tag: int) -> str:
    return tags[tag].text() if tag in tags else ""


def _numbers(tags: _Tags, tag: int) -> list[float | None]:
    return tags[tag].numbers() if tag in tags else []


def _orientation(tags: _Tags) -> int | None:
    """None without the tag; an impossible number means upright."""
    numbers = _numbers(tags, _ORIENTATION)
    if not numbers:
        return None
    first = numbers[0]
    return int(first) if first is not None and first in _ORIENTATIONS else 1


def _moment(text: str) -> datetime | None:
    found = _DATE.match(text)
    if not found:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second)  # EXIF states wall-clock time: naive on purpose
    except ValueError:
        return None


def _utc_offset(text: str) -> int | None:
    if text == "Z":
        return 0
    found = _UTC_OFFSET.match(text)
    if not found or found[3] > "59":
        return None
    minutes = (int(found[2]) * 60 + int(found[3])) * (-1 if found[1] == "-" else 1)
    return minutes if _OFFSET_RANGE_MINUTES[0] <= minutes <= _OFFSET_RANGE_MINUTES[1] else None


def _position(gps: _Tags) -> tuple[float, float] | tuple[None, None]:
    """Degrees north and east, both or neither."""
    latitude = _degrees(gps, _LATITUDE, _LATITUDE_REF, limit=90, negative="S")
    longitude = _degrees(gps, _LONGITUDE, _LONGITUDE_REF, limit=180, negative="W")
    return (None, None) if latitude is None or longitude is None else (latitude, longitude)


def _degrees(gps: _Tags, tag: int, ref_tag: int, *, limit: float, negative: str) -> float | None:
    parts = _numbers(gps, tag)[:3]
    if not parts or any(part is None for part in parts):
        return None
    degrees = sum(part / 60**power for power, part in enumerate(parts) if part is not None)
    degrees = -degrees if _text(gps, ref_tag).upper().startswith(negative) else degrees
    return degrees if -limit <= degrees <= limit else None  # a NaN compares false


def _altitude(gps: _Tags) -> float | None:
    """Metres above the sea; reference 1 means below."""
    numbers = _numbers(gps, _ALTITUDE)
    if not numbers or numbers[0] is None:
        return None
    below = _numbers(gps, _ALTITUDE_REF)[:1] == [1]
    metres = -numbers[0] if below else numbers[0]
    return metres if _ALTITUDE_RANGE_M[0] <= metres <= _ALTITUDE_RANGE_M[1] else None
