"""EXIF blocks are built here byte by byte, so that the reader is not tested by the writer of the library it replaces."""

import struct
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.exif import ExifFacts, read_exif, xmp_orientation

ASCII, SHORT, LONG, RATIONAL, BYTE = 2, 3, 4, 5, 1
MAKE, MODEL, ORIENTATION, EXIF_IFD, GPS_IFD, TAKEN, DIGITIZED, OFFSET = 0x10F, 0x110, 0x112, 0x8769, 0x8825, 0x9003, 0x9004, 0x9011

Tag = tuple[int, int, bytes]  # tag, type, raw value


def ascii_tag(tag: int, text: str | bytes) -> Tag:
    return tag, ASCII, (text.encode() if isinstance(text, str) else text) + b"\0"


def short_tag(tag: int, number: int, order: str = "<") -> Tag:
    return tag, SHORT, struct.pack(order + "H", number)


def rational_tag(tag: int, *pairs: tuple[int, int], order: str = "<") -> Tag:
    return tag, RATIONAL, b"".join(struct.pack(order + "II", *pair) for pair in pairs)


def directory(tags: list[Tag], start: int, order: str = "<", next_directory: int = 0) -> bytes:
    """One IFD at offset `start`, its long values right behind it."""
    unit = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, BYTE: 1}
    place = start + 2 + 12 * len(tags) + 4
    entries, values = struct.pack(order + "H", len(tags)), b""
    for tag, kind, raw in tags:
        head = struct.pack(order + "HHI", tag, kind, len(raw) // unit[kind])
        if len(raw) <= 4:
            entries += head + raw.ljust(4, b"\0")
        else:
            entries += head + struct.pack(order + "I", place + len(values))
            values += raw
    return entries + struct.pack(order + "I", next_directory) + values


def exif(root: list[Tag] | None = None, photo: list[Tag] | None = None, gps: list[Tag] | None = None, order: str = "<") -> bytes:
    """A whole block; the pointers to the photo's and the GPS directory are added to the root."""
    pointers = [(tag, LONG, b"\0\0\0\0") for tag, tags in ((EXIF_IFD, photo), (GPS_IFD, gps)) if tags is not None]
    length = len(directory([*(root or []), *pointers], 8, order))
    photo_bytes = directory(photo, 8 + length, order) if photo is not None else b""
    gps_bytes = directory(gps, 8 + length + len(photo_bytes), order) if gps is not None else b""
    starts = {EXIF_IFD: 8 + length, GPS_IFD: 8 + length + len(photo_bytes)}
    filled = [(tag, LONG, struct.pack(order + "I", starts[tag])) for tag, _, _ in pointers]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + mark + struct.pack(order + "I", 8) + directory([*(root or []), *filled], 8, order) + photo_bytes + gps_bytes


def taken(text: str, offset: str | None = None) -> ExifFacts:
    return read_exif(exif(photo=[ascii_tag(TAKEN, text), *([ascii_tag(OFFSET, offset)] if offset else [])]))


def located(latitude: list[tuple[int, int]], longitude: list[tuple[int, int]], references: str = "NE", extra: tuple[Tag, ...] = ()) -> ExifFacts:
    return read_exif(
        exif(
            gps=[
                ascii_tag(1, references[0]),
                rational_tag(2, *latitude),
                ascii_tag(3, references[1]),
                rational_tag(4, *longitude),
                *extra,
            ]
        )
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    block = exif(
        [ascii_tag(MAKE, "Canon"), ascii_tag(MODEL, "EOS 6D"), short_tag(ORIENTATION, 6, order)],
        [ascii_tag(TAKEN, "2021:06:05 12:00:01")],
        order=order,
    )
    assert read_exif(block) == ExifFacts(orientation=6, taken_at_local=datetime(2021, 6, 5, 12, 0, 1), camera_make="Canon", camera_model="EOS 6D")


def test_a_block_without_its_marker_is_read_too() -> None:
    assert read_exif(exif([short_tag(ORIENTATION, 8)])[6:]).orientation == 8


def test_a_big_tiff_is_read() -> None:
    entry = struct.pack("<HHQ", ORIENTATION, SHORT, 1) + struct.pack("<H", 3).ljust(8, b"\0")
    block = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", 1) + entry + struct.pack("<Q", 0)
    assert read_exif(block).orientation == 3


def test_no_block_states_nothing() -> None:
    assert read_exif(b"") == read_exif(b"Exif\0\0") == read_exif(b"II*\0") == read_exif(b"II+\0\x08\0\0\0") == ExifFacts()


@pytest.mark.parametrize(("stated", "meant"), [(1, 1), (8, 8), (0, 1), (9, 1), (65535, 1)])
def test_an_impossible_orientation_means_upright(stated: int, meant: int) -> None:
    assert read_exif(exif([short_tag(ORIENTATION, stated)])).orientation == meant


def test_an_orientation_of_the_wrong_type_means_upright() -> None:
    assert read_exif(exif([rational_tag(ORIENTATION, (6, 0))])).orientation == 1
    assert read_exif(exif([ascii_tag(ORIENTATION, "six")])).orientation is None


@pytest.mark.parametrize(
    "text",
    ["9999:99:99 99:99:99", "0000:00:00 00:00:00", "last summer, I think", "", "    :  :     :  :  ", "2021:02:29 10:00:00", "2021:06:05 24:00:00"],
)
def test_an_impossible_date_is_none(text: str) -> None:
    assert taken(text, "+02:00") == ExifFacts()


@pytest.mark.parametrize(("text", "year"), [("1899:12:31 00:00:00", 1899), ("2150:01:01 00:00:00", 2150), ("2020-01-01T00:00:00", 2020)])
def test_an_unlikely_date_is_kept_as_stated(text: str, year: int) -> None:
    found = taken(text).taken_at_local
    assert found is not None
    assert (found.year, found.tzinfo) == (year, None)


def test_only_the_time_of_taking_counts_not_that_of_scanning_or_saving() -> None:
    assert read_exif(exif([ascii_tag(0x132, "2020:01:01 00:00:00")], [ascii_tag(DIGITIZED, "2020:01:01 00:00:00")])).taken_at_local is None


@pytest.mark.parametrize(
    ("text", "minutes"), [("+09:00", 540), ("-03:30", -210), ("+0100", 60), ("Z", 0), ("+14:00", 840), ("-12:00", -720), ("+00:00", 0)]
)
def test_the_offset_is_minutes_east_of_utc(text: str, minutes: int) -> None:
    assert taken("2020:01:01 00:00:00", text).utc_offset_minutes == minutes


@pytest.mark.parametrize("text", ["+99:99", "+14:01", "-13:00", "+09:60", "CET", "   :  ", "+9"])
def test_an_impossible_offset_is_none_and_the_date_stays(text: str) -> None:
    found = taken("2020:01:01 00:00:00", text)
    assert found.utc_offset_minutes is None
    assert found.taken_at_local is not None


def test_positions_are_degrees_north_and_east() -> None:
    found = located([(22, 1), (57, 1), (69, 10)], [(43, 1), (12, 1), (3775, 100)], "SW")
    assert found.latitude == pytest.approx(-22.951917, abs=1e-6)
    assert found.longitude == pytest.approx(-43.210486, abs=1e-6)


def test_the_null_island_is_a_position() -> None:
    assert located([(0, 1)] * 3, [(0, 1)] * 3) == ExifFacts(latitude=0.0, longitude=0.0)


@pytest.mark.parametrize("latitude", [[(999, 1), (0, 1), (0, 1)], [(0, 0), (0, 0), (0, 0)], [(90, 1), (1, 1), (0, 1)]])
def test_an_impossible_position_is_none_altogether(latitude: list[tuple[int, int]]) -> None:
    assert located(latitude, [(10, 1), (0, 1), (0, 1)]) == ExifFacts()


def test_half_a_position_is_none() -> None:
    assert read_exif(exif(gps=[ascii_tag(1, "N"), rational_tag(2, (48, 1), (0, 1), (0, 1))])) == ExifFacts()


@pytest.mark.parametrize(("reference", "pair", "metres"), [(0, (254, 10), 25.4), (1, (5, 1), -5.0), (0, (1_000_000_000, 1), None), (0, (1, 0), None)])
def test_the_altitude_is_metres_above_the_sea(reference: int, pair: tuple[int, int], metres: float | None) -> None:
    assert read_exif(exif(gps=[(5, BYTE, bytes([reference])), rational_tag(6, pair)])).altitude_m == metres


def test_names_are_text_that_a_database_can_store() -> None:
    found = read_exif(exif([ascii_tag(MAKE, b"\xff\xfe\xe4\xf6"), ascii_tag(MODEL, b" A\0B\nC\x07 \0")]))
    assert (found.camera_make, found.camera_model) == ("ÿþäö", "ABC")
    assert read_exif(exif([ascii_tag(MAKE, "写真".encode()), ascii_tag(MODEL, "   ")])).camera_make == "写真"
    assert read_exif(exif([ascii_tag(MODEL, "   ")])).camera_model is None


def test_a_name_of_any_length_is_cut_or_passed_over() -> None:
    assert len(read_exif(exif([ascii_tag(MODEL, "x" * 1000)])).camera_model or "") == 200
    assert read_exif(exif([ascii_tag(MODEL, "x" * 100_000)])).camera_model is None


def test_values_outside_the_block_are_passed_over() -> None:
    block = bytearray(exif([ascii_tag(MODEL, "outside of it"), short_tag(ORIENTATION, 3)]))
    where = block.index(struct.pack("<HH", MODEL, ASCII)) + 8
    block[where : where + 4] = struct.pack("<I", 0xFFFFFFF0)
    assert read_exif(bytes(block)) == ExifFacts(orientation=3)


@pytest.mark.parametrize("target", [8, 0, 4, 0xFFFFFFFF])
def test_directories_that_point_anywhere_end(target: int) -> None:
    tags = [short_tag(ORIENTATION, 3), (EXIF_IFD, LONG, struct.pack("<I", target)), (GPS_IFD, LONG, struct.pack("<I", target))]
    assert read_exif(b"II*\0" + struct.pack("<I", 8) + directory(tags, 8, next_directory=8)).orientation == 3


def test_a_directory_that_claims_more_entries_than_there_are_is_read_as_far_as_it_goes() -> None:
    block = bytearray(exif([short_tag(ORIENTATION, 6)]))
    block[14:16] = b"\xff\xff"
    assert read_exif(bytes(block)).orientation == 6


@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise(noise: bytes) -> None:
    for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        assert isinstance(read_exif(mark + noise), ExifFacts)


@given(st.data())
def test_no_damage_to_a_good_block_raises(data: st.DataObject) -> None:
    block = bytearray(
        exif(
            [ascii_tag(MAKE, "Canon"), short_tag(ORIENTATION, 6)],
            [ascii_tag(TAKEN, "2021:06:05 12:00:01"), ascii_tag(OFFSET, "+01:00")],
            [rational_tag(2, (1, 1))],
        )
    )
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    found = read_exif(bytes(block))
    assert found.orientation in (None, *range(1, 9))


@pytest.mark.parametrize(
    ("packet", "meant"),
    [
        (b'<x tiff:Orientation="6"/>', 6),
        (b"<tiff:Orientation>8</tiff:Orientation>", 8),
        (b'<x tiff:Orientation="9"/>', None),
        (b"", None),
        (b"tiff:Orientation=", None),
    ],
)
def test_an_orientation_in_xmp_is_found(packet: bytes, meant: int | None) -> None:
    assert xmp_orientation(packet) == meant
