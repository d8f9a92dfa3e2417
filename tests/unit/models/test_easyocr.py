"""CRAFT's maps to words, words to lines, lines to rows, rows to text. The numbers of the original library are in tests/export/test_easyocr_fidelity.py."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models import easyocr
from kizu_fast.models.easyocr import Canvas, Crop, Span, Words
from kizu_fast.specs import CRAFT_BUCKETS, CRAFT_PIXELS, CRAFT_STEPS, EASYOCR_HEIGHT, EASYOCR_WIDTHS

ROWS = tuple((EASYOCR_HEIGHT, width) for width in EASYOCR_WIDTHS)
SURE = easyocr.SURE_TEXT


def maps(height: int = 80, width: int = 160) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)


def box(left: int, top: int, right: int, bottom: int) -> NDArray[np.int32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)


def as_photo(height: int, width: int, *, decoded: int = 1) -> Photo:
    return Photo(np.zeros((height // decoded, width // decoded, 3), np.uint8), width, height)


def crop_of(height: int, width: int, *, row: int | None = None) -> Crop:
    grey = np.tile(np.linspace(0, 255, width, dtype=np.uint8), (height, 1))
    return Crop(np.zeros((4, 2)), grey, row or math.ceil(max(width, height) / 64) * 64)


# the seen picture and the canvas


def test_a_picture_within_the_limit_is_seen_as_it_is() -> None:
    photo = as_photo(480, 640)
    assert easyocr.seen(photo, 2048) is photo.pixels


@pytest.mark.parametrize(("height", "width", "expected"), [(3000, 4000, (1536, 2048)), (4000, 1000, (2048, 512)), (1, 9000, (1, 2048))])
def test_the_longer_side_is_cut_to_the_limit(height: int, width: int, expected: tuple[int, int]) -> None:
    assert easyocr.seen(as_photo(height, width), 2048).shape == (*expected, 3)


def test_a_small_picture_is_never_enlarged() -> None:
    canvas = easyocr.canvas_for(100, 300, CRAFT_BUCKETS)
    assert canvas == Canvas((320, 320), 1.0, 100, 300)


def test_a_large_picture_takes_the_smallest_of_the_buckets_that_shrink_it_least() -> None:
    assert easyocr.canvas_for(1536, 2048, CRAFT_BUCKETS) == Canvas((800, 960), 0.46875, 720, 960)
    assert easyocr.canvas_for(2048, 1536, CRAFT_BUCKETS).bucket == (960, 800)
    assert easyocr.canvas_for(2048, 2048, CRAFT_BUCKETS).bucket == (800, 800)
    assert easyocr.canvas_for(1152, 2048, CRAFT_BUCKETS).bucket == (640, 1280)
    assert easyocr.canvas_for(300, 2048, CRAFT_BUCKETS).bucket == (320, 1280)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_every_picture_lies_inside_its_bucket(height: int, width: int) -> None:
    canvas = easyocr.canvas_for(height, width, CRAFT_BUCKETS)
    assert 1 <= canvas.inner_height <= canvas.bucket[0]
    assert 1 <= canvas.inner_width <= canvas.bucket[1]
    assert canvas.ratio <= 1


def test_no_bucket_is_larger_than_memory_allows_and_all_fit_the_graph() -> None:
    assert all(height * width <= CRAFT_PIXELS and height % 32 == width % 32 == 0 for height, width in CRAFT_BUCKETS)


def test_the_picture_stands_at_the_top_left_on_black() -> None:
    picture = np.full((100, 200, 3), 200, np.uint8)
    framed = easyocr.framed(picture, easyocr.canvas_for(100, 200, CRAFT_BUCKETS))
    assert framed.shape == (320, 320, 3)
    assert (framed[:100, :200] == 200).all()
    assert framed.sum() == 100 * 200 * 3 * 200


def test_a_picture_too_large_for_its_bucket_fills_one_side_of_it() -> None:
    framed = easyocr.framed(np.full((1536, 2048, 3), 200, np.uint8), easyocr.canvas_for(1536, 2048, CRAFT_BUCKETS))
    assert framed.shape == (800, 960, 3)
    assert (framed[:720] == 200).all()


# maps to words


def test_thresholds_are_whole_steps_of_the_maps() -> None:
    assert (easyocr.LOW_TEXT, easyocr.SURE_TEXT) == (100, 175)
    assert (easyocr.LOW_TEXT / CRAFT_STEPS, easyocr.SURE_TEXT / CRAFT_STEPS) == (0.4, 0.7)


def test_an_empty_picture_has_no_words() -> None:
    assert easyocr.component_quads(*maps()) == []


def test_a_bar_of_text_becomes_its_box_grown_by_its_height() -> None:
    text, link = maps()
    text[30:40, 20:80] = SURE
    (quad,) = easyocr.component_quads(text, link)
    grow = int(math.sqrt(600 * 10 / 600) * 2)
    assert np.allclose(quad, box(20 - grow // 2, 30 - grow // 2, 79 + grow // 2, 39 + grow // 2), atol=1)


@pytest.mark.parametrize("peak", [easyocr.LOW_TEXT, SURE - 1])
def test_a_bar_without_one_sure_pixel_is_no_word(peak: int) -> None:
    text, link = maps()
    text[30:40, 20:80] = peak
    assert easyocr.component_quads(text, link) == []


def test_a_speck_is_no_word() -> None:
    text, link = maps()
    text[10:13, 10:13] = 250
    assert easyocr.component_quads(text, link) == []


def test_a_link_joins_two_bars_and_is_not_part_of_the_box() -> None:
    text, link = maps()
    text[30:40, 20:50] = text[30:40, 60:90] = SURE
    assert len(easyocr.component_quads(text, link)) == 2
    link[20:50, 50:60] = easyocr.LOW_LINK
    (quad,) = easyocr.component_quads(text, link)
    assert quad[:, 1].min() > 20
    assert quad[:, 1].max() < 50


def test_a_word_at_the_edge_stays_inside_the_map() -> None:
    text, link = maps(40, 60)
    text[0:10, 0:60] = SURE
    (quad,) = easyocr.component_quads(text, link)
    assert quad.min() > -1e-6
    assert quad[:, 0].max() < 59.001


def test_a_tilted_bar_becomes_a_tilted_box_that_begins_at_its_top_left() -> None:
    text, link = maps(120, 200)
    corners = cv2.boxPoints(((100, 60), (140, 16), 20)).astype(np.int32)
    cv2.fillPoly(text, [corners], SURE)
    (quad,) = easyocr.component_quads(text, link)
    assert quad.sum(axis=1).argmin() == 0
    slope = math.degrees(math.atan2(quad[1, 1] - quad[0, 1], quad[1, 0] - quad[0, 0]))
    assert slope == pytest.approx(20, abs=2)


def test_what_is_nearly_a_square_stands_upright() -> None:
    text, link = maps(100, 100)
    cv2.circle(text, (50, 50), 15, SURE, -1)
    (quad,) = easyocr.component_quads(text, link)
    assert len(set(quad[:, 0].tolist())) == len(set(quad[:, 1].tolist())) == 2


def test_words_come_back_in_pixels_of_the_seen_picture() -> None:
    canvas = Canvas((320, 320), 0.5, 200, 320)
    text, link = maps(160, 160)
    text[30:40, 20:80] = SURE
    found = easyocr.words({"text_map": text, "link_map": link}, canvas)
    (span,) = found.level
    assert span.left == pytest.approx(20 * 2 / 0.5, abs=20)
    assert span.right == pytest.approx(80 * 2 / 0.5, abs=20)
    assert span.middle == pytest.approx(35 * 2 / 0.5, abs=6)


def test_maps_of_another_size_are_a_broken_model() -> None:
    text, link = maps(100, 160)
    with pytest.raises(PermanentError, match="instead of"):
        easyocr.words({"text_map": text, "link_map": link}, Canvas((320, 320), 1, 10, 10))


# words to lines


def test_words_of_one_row_near_each_other_are_one_line_with_a_margin() -> None:
    found = easyocr.grouped([box(98, 12, 160, 32), box(10, 10, 90, 30)])
    assert found == Words((Span(8, 162, 8, 34),), ())


def test_a_gap_wider_than_half_the_height_parts_a_row() -> None:
    found = easyocr.grouped([box(10, 10, 90, 30), box(101, 10, 160, 30)])
    assert [span.left for span in found.level] == [8, 99]


def test_words_of_other_height_do_not_join() -> None:
    found = easyocr.grouped([box(10, 10, 90, 30), box(92, 0, 160, 41)])
    assert len(found.level) == 2


def test_rows_run_from_top_to_bottom() -> None:
    found = easyocr.grouped([box(10, 100, 90, 120), box(10, 10, 90, 30), box(10, 50, 90, 70)])
    assert [span.top for span in found.level] == [8, 48, 98]


def test_a_slanted_word_stays_single_and_gets_its_margin_along_the_diagonals() -> None:
    word = np.array([[10, 10], [110, 40], [105, 60], [5, 30]], np.int32)
    found = easyocr.grouped([word])
    assert found.level == ()
    (wide,) = found.slanted
    assert np.abs(wide - word).max() > 0
    assert wide[0, 0] < 10
    assert wide[2, 0] > 105
    assert np.abs(wide - word).max() <= 1.44 * 0.1 * 105


def test_a_slope_below_a_tenth_is_level() -> None:
    gentle = np.array([[0, 0], [100, 9], [100, 29], [0, 20]], np.int32)
    steep = np.array([[0, 0], [100, 11], [100, 31], [0, 20]], np.int32)
    assert len(easyocr.grouped([gentle]).level) == 1
    assert len(easyocr.grouped([steep]).slanted) == 1


def test_no_words_make_no_lines() -> None:
    assert easyocr.grouped([]) == Words((), ())


def test_what_is_twenty_pixels_long_is_too_small() -> None:
    level = (Span(0, 20, 0, 10), Span(0, 21, 0, 10), Span(0, 5, 0, 21))
    slanted = tuple(np.array([[0, 0], [side, 5], [side, 9], [0, 4]], float) for side in (20, 21))
    found = easyocr.large_enough(Words(level, slanted))
    assert found.level == level[1:]
    assert len(found.slanted) == 1


def test_a_picture_of_noise_has_no_more_lines_than_a_page() -> None:
    many = tuple(Span(0, 30, i, i + 30) for i in range(1500))
    found = easyocr.large_enough(Words(many, (np.array([[0, 0], [50.0, 20], [40, 30], [0, 10]]),)))
    assert len(found.level) == easyocr.MAX_LINES
    assert found.slanted == ()


# lines to rows


def test_a_level_line_is_cut_within_the_picture_and_becomes_64_pixels_high() -> None:
    picture = np.full((100, 200, 3), 7, np.uint8)
    (crop,) = easyocr.crops(picture, Words((Span(-5, 250, 10, 30),), ()))
    assert crop.quad.tolist() == [[0, 10], [200, 10], [200, 30], [0, 30]]
    assert crop.grey.shape == (64, 640)
    assert crop.width == 640


def test_grey_is_that_of_the_eye() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[..., 0] = 255
    (crop,) = easyocr.crops(picture, Words((Span(0, 80, 0, 40),), ()))
    assert (crop.grey == 76).all()


def test_a_line_outside_the_picture_is_left_out() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    flat = np.array([[5.0, 5], [5, 5], [5, 5], [5, 5]])
    assert easyocr.crops(picture, Words((Span(210, 260, 10, 30), Span(10, 90, 120, 140)), (flat,))) == []


def test_a_slanted_line_is_straightened() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    quad = np.array([[20.0, 20], [160, 100], [150, 120], [10, 40]])
    cv2.fillPoly(picture, [quad.astype(np.int32)], (255, 255, 255))
    (crop,) = easyocr.crops(picture, Words((), (quad,)))
    assert crop.quad.tolist() == quad.tolist()
    assert crop.grey.shape[0] == 64
    assert (crop.grey > 128).mean() > 0.95


def test_text_that_runs_down_keeps_its_width_until_it_is_squeezed_into_a_row() -> None:
    (crop,) = easyocr.crops(np.zeros((200, 60, 3), np.uint8), Words((Span(10, 50, 0, 160),), ()))
    assert crop.grey.shape == (256, 64)
    assert crop.width == 256
    row = easyocr.row(crop, (64, 256))
    assert row.shape == (64, 256)


@pytest.mark.parametrize(("width", "bucket"), [(64, 64), (65, 128), (640, 640), (641, 768), (9000, 4096)])
def test_a_row_takes_the_narrowest_bucket_that_holds_it(width: int, bucket: int) -> None:
    assert easyocr.row_bucket(crop_of(64, 64, row=width), ROWS) == (64, bucket)


def test_up_to_ten_times_as_long_as_high_a_row_is_as_wide_as_the_original_librarys() -> None:
    assert all(easyocr.row_bucket(crop_of(64, 64, row=64 * n), ROWS) == (64, 64 * n) for n in range(1, 11))


def test_the_last_column_goes_on_to_the_right() -> None:
    crop = crop_of(64, 100)
    row = easyocr.row(crop, (64, 192))
    assert (row[:, :100] == crop.grey).all()
    assert (row[:, 100:] == crop.grey[:, -1:]).all()


def test_a_line_too_long_for_every_bucket_is_squeezed() -> None:
    row = easyocr.row(crop_of(64, 5000), (64, 4096))
    assert row.shape == (64, 4096)
    assert int(row[0, 0]) < 5
    assert int(row[0, -1]) > 250


# contrast


def test_good_contrast_is_left_alone() -> None:
    assert easyocr.with_contrast(crop_of(64, 128)) is None


def test_a_pale_line_is_stretched_over_the_greys() -> None:
    grey = np.full((64, 128), 60, np.uint8)
    grey[20:40, 10:100] = 160
    stretched = easyocr.with_contrast(Crop(np.zeros((4, 2)), grey, 128))
    assert stretched is not None
    assert (int(stretched.grey.min()), int(stretched.grey.max())) == (50, 250)
    assert stretched.width == 128


def test_an_even_line_does_not_divide_by_nothing() -> None:
    stretched = easyocr.with_contrast(Crop(np.zeros((4, 2)), np.zeros((64, 64), np.uint8), 64))
    assert stretched is not None
    assert (stretched.grey == stretched.grey[0, 0]).all()


# rows to text


def answer(ids: list[int], scores: list[float]) -> dict[str, NDArray[np.generic]]:
    return {"ids": np.array(ids, np.int32), "scores": np.array(scores, np.float32)}


ABC = ("", "a", "b", "c")


def test_repeats_are_one_and_blanks_part_them() -> None:
    reading = easyocr.read(answer([0, 1, 1, 0, 1, 2, 3, 3], [0.1, 1, 1, 0.2, 1, 1, 1, 1]), ABC)
    assert reading.text == "aabc"
    assert reading.confidence == pytest.approx(1)


def test_the_confidence_is_the_librarys_own_mean() -> None:
    scores = [0.9, 0.8, 0.7, 0.5]
    reading = easyocr.read(answer([1, 2, 0, 3], scores), ABC)
    assert reading.confidence == pytest.approx((0.9 * 0.8 * 0.5) ** (2 / math.sqrt(3)))


def test_nothing_but_blanks_is_no_text() -> None:
    assert easyocr.read(answer([0, 0, 0], [1, 1, 1]), ABC) == easyocr.Reading("", 0.0)


@pytest.mark.parametrize("ids", [[4], [-1]])
def test_a_class_without_a_character_is_another_model(ids: list[int]) -> None:
    with pytest.raises(PermanentError, match="has no character"):
        easyocr.read(answer(ids, [1]), ABC)


def test_scores_that_are_no_numbers_are_a_broken_model() -> None:
    with pytest.raises(PermanentError, match="not finite"):
        easyocr.read(answer([1], [math.nan]), ABC)
