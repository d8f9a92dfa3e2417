"""Before and after the graphs of PP-OCR."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models import ppocr, text
from kizu_fast.models.ppocr import Crop, Frame
from kizu_fast.specs import PPOCR_FAR, PPOCR_NEAR

SIDES = st.integers(1, 6000)


def blank(height: int, width: int, value: int = 255) -> Photo:
    return Photo(np.full((height, width, 3), value, np.uint8), width, height)


def crop(height: int = 48, width: int = 200, *, stands: bool = False) -> Crop:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 200
    return Crop(pixels, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32), stands)


class TestFrame:
    @given(height=SIDES, width=SIDES, longest=st.sampled_from([500, 2048]), buckets=st.sampled_from([PPOCR_NEAR, PPOCR_FAR]))
    def test_a_photo_lies_in_its_bucket(self, height: int, width: int, longest: int, buckets: tuple[tuple[int, int], ...]) -> None:
        frame = ppocr.frame_for(height, width, buckets, longest=longest)
        assert frame.bucket in buckets
        assert 1 <= frame.inner_height <= frame.bucket[0]
        assert 1 <= frame.inner_width <= frame.bucket[1]
        assert max(frame.inner_height, frame.inner_width) <= longest

    @pytest.mark.parametrize(
        ("size", "bucket"),
        [
            ((3000, 4000), (736, 960)),
            ((4000, 3000), (960, 736)),
            ((1080, 1920), (544, 960)),
            ((1000, 1000), (736, 736)),
            ((30, 700), (544, 960)),
            ((700, 30), (960, 544)),
        ],
    )
    def test_the_bucket_is_the_one_of_the_photo_s_own_shape(self, size: tuple[int, int], bucket: tuple[int, int]) -> None:
        assert ppocr.frame_for(*size, PPOCR_NEAR, longest=2048).bucket == bucket

    def test_of_buckets_that_show_it_as_large_the_smaller_is_taken(self) -> None:
        assert ppocr.frame_for(100, 200, PPOCR_NEAR, longest=2048).bucket == (544, 960)

    def test_small_pictures_are_enlarged_within_reason(self) -> None:
        frame = ppocr.frame_for(100, 200, PPOCR_NEAR, longest=2048)
        assert (frame.inner_height, frame.inner_width) == (250, 500)

    def test_no_side_is_longer_than_the_settings_allow(self) -> None:
        frame = ppocr.frame_for(3000, 4000, PPOCR_NEAR, longest=480)
        assert (frame.inner_height, frame.inner_width) == (360, 480)

    @pytest.mark.parametrize("scale", [1, 3])
    def test_beside_and_below_the_photo_it_is_black(self, scale: int) -> None:
        frame = Frame((96, 128), 48, 100)
        picture = ppocr.framed(blank(48 * scale, 100 * scale, 200), frame)
        assert picture.shape == (96, 128, 3)
        assert (picture[:48, :100] == 200).all()
        assert (picture[48:] == 0).all()
        assert (picture[:, 100:] == 0).all()


class TestQuads:
    """Regions of the map to rectangles of the photo."""

    FRAME = Frame((200, 300), 200, 300)

    def found(self, level: np.ndarray, photo: Photo | None = None, frame: Frame | None = None) -> np.ndarray:
        return ppocr.quads(level, frame or self.FRAME, photo or blank(200, 300))

    def bar(self, value: int = 255) -> np.ndarray:
        level = np.zeros((200, 300), np.uint8)
        level[90:101, 50:251] = value
        return level

    def test_a_region_grows_by_its_area_over_its_outline_on_every_side(self) -> None:
        (quad,) = self.found(self.bar())
        # dilated to the right and downwards by one pixel: 201 x 11 between the middles of its outer pixels; 1.6 times area over circumference
        growth = 1.6 * 201 * 11 / (2 * (201 + 11))
        low, high = quad.min(axis=0), quad.max(axis=0)
        assert high - low == pytest.approx([201 + 2 * growth, 11 + 2 * growth], abs=0.01)
        assert (low + high) / 2 == pytest.approx([150.5, 95.5], abs=0.1)

    def test_corners_come_clockwise_from_the_top_left(self) -> None:
        (quad,) = self.found(self.bar())
        assert quad[0][0] < quad[1][0]
        assert quad[0][1] < quad[3][1]
        assert quad[2].tolist() == pytest.approx(quad.max(axis=0).tolist())

    def test_a_tilted_region_keeps_its_tilt(self) -> None:
        level = np.zeros((200, 300), np.uint8)
        cv2.fillPoly(level, [np.array([[60, 60], [240, 110], [236, 124], [56, 74]])], 255)
        (quad,) = self.found(level)
        along = quad[1] - quad[0]
        assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(np.degrees(np.arctan2(50, 180)), abs=2)

    def test_they_are_pixels_of_the_original_whatever_was_decoded(self) -> None:
        (small,) = self.found(self.bar())
        (large,) = self.found(self.bar(), Photo(np.zeros((100, 150, 3), np.uint8), 1200, 800))
        np.testing.assert_allclose(large, small * 4, rtol=1e-5)

    def test_what_lies_outside_the_photo_is_not_looked_at(self) -> None:
        assert len(self.found(self.bar(), blank(80, 300), Frame((200, 300), 80, 300))) == 0

    def test_quads_end_where_the_photo_ends(self) -> None:
        level = np.zeros((200, 300), np.uint8)
        level[:12, :] = 255
        (quad,) = self.found(level)
        assert quad.min() == 0
        assert quad.max(axis=0)[0] == 300

    @pytest.mark.parametrize(("value", "count"), [(76, 0), (77, 0), (127, 0), (129, 1), (255, 1)])
    def test_faint_regions_are_none(self, value: int, count: int) -> None:
        """From 77 on a pixel belongs to a region; a region whose mean is below the half is dropped. Its box is a pixel wider than itself."""
        level = np.full((200, 300), 0, np.uint8)
        level[40:160, 40:260] = value
        assert len(self.found(level)) == count

    def test_specks_are_none(self) -> None:
        level = np.zeros((200, 300), np.uint8)
        level[50:52, 50:52] = 255
        assert len(self.found(level)) == 0

    def test_an_empty_map_has_none(self) -> None:
        assert self.found(np.zeros((200, 300), np.uint8)).shape == (0, 4, 2)

    def test_two_regions_are_two(self) -> None:
        level = self.bar()
        level[20:31, 50:120] = 255
        assert len(self.found(level)) == 2


class TestSmallPrint:
    def lines(self, *heights: int) -> np.ndarray:
        return np.array([[[0, 0], [300, 0], [300, height], [0, height]] for height in heights], np.float32)

    @pytest.mark.parametrize(("heights", "small"), [((40, 43, 90), True), ((40, 60, 90), False), ((90,), False), ((), False)])
    def test_half_of_the_lines_decide(self, heights: tuple[int, ...], small: bool) -> None:
        """At 960 of 4000 pixels: 44 of the original are SMALL_PRINT_PX of the bucket."""
        photo = Photo(np.zeros((750, 1000, 3), np.uint8), 4000, 3000)
        assert ppocr.small_print(self.lines(*heights).reshape(-1, 4, 2), Frame((736, 960), 720, 960), photo) == small


class TestCut:
    def test_a_lying_line_is_cut_as_it_is(self) -> None:
        quad = np.array([[10, 10], [110, 10], [110, 30], [10, 30]], np.float32)
        (cut,) = ppocr.cut(blank(60, 200), quad[None])
        assert cut.pixels.shape == (20, 100, 3)
        assert not cut.stands
        np.testing.assert_array_equal(cut.quad, quad)

    def test_a_standing_line_is_laid_down(self) -> None:
        quad = np.array([[10, 10], [30, 10], [30, 110], [10, 110]], np.float32)
        photo = blank(200, 60)
        photo.pixels[10:20] = 0  # the upper end of the line
        (cut,) = ppocr.cut(photo, quad[None])
        assert cut.stands
        assert cut.pixels.shape == (20, 100, 3)
        assert cut.pixels[:, :8].max() < 50  # it is read from top to bottom only if the classifier turns it round
        np.testing.assert_array_equal(cut.quad, text.turned(quad, 1))

    def test_it_is_cut_from_the_decoded_picture(self) -> None:
        photo = Photo(np.zeros((100, 200, 3), np.uint8), 400, 200)
        (cut,) = ppocr.cut(photo, np.array([[[100, 100], [300, 100], [300, 140], [100, 140]]], np.float32))
        assert cut.pixels.shape == (20, 100, 3)

    def test_what_is_too_small_to_show_a_letter_is_left_out(self) -> None:
        assert ppocr.cut(blank(60, 200), np.array([[[0, 0], [50, 0], [50, 3.9], [0, 3.9]]], np.float32)) == []


class TestUpright:
    def test_a_line_on_its_head_is_turned_round(self) -> None:
        line = crop()
        (turned,) = ppocr.upright([line], [0.95])
        np.testing.assert_array_equal(turned.pixels, np.rot90(line.pixels, 2))
        np.testing.assert_array_equal(turned.quad, text.turned(line.quad, 2))

    def test_a_doubtful_line_stays(self) -> None:
        line = crop()
        assert ppocr.upright([line, line, line], [0.6, 0.1, 0.2])[0] is line

    def test_doubtful_lines_of_a_page_on_its_head_are_turned_with_it(self) -> None:
        lines = [crop() for _ in range(4)]
        assert not any(one is line for one, line in zip(ppocr.upright(lines, [0.99, 0.99, 0.3, 0.2]), lines, strict=True))

    @pytest.mark.parametrize("probabilities", [(0.8, 0.8, 0.2), (0.99, 0.5, 0.5), (0.99, 0.99, 0.05, 0.05), (0.99, 0.99, 0.5, 0.5, 0.5)])
    def test_a_page_is_turned_only_when_most_of_it_is_sure(self, probabilities: tuple[float, ...]) -> None:
        lines = [crop() for _ in probabilities]
        turned = ppocr.upright(lines, probabilities)
        assert [one is not line for one, line in zip(turned, lines, strict=True)] == [one > 0.9 for one in probabilities]

    def test_lines_that_stand_are_judged_apart_from_those_that_lie(self) -> None:
        lying, standing = crop(), crop(stands=True)
        turned = ppocr.upright([lying, standing, standing, standing], [0.05, 0.99, 0.99, 0.5])
        assert turned[0] is lying
        assert turned[1] is not standing
        assert turned[3] is not standing

    def test_no_lines_are_no_lines(self) -> None:
        assert ppocr.upright([], []) == []


class TestLine:
    @pytest.mark.parametrize(("height", "width", "wide"), [(48, 200, 200), (24, 100, 200), (100, 1, 1), (96, 201, 101)])
    def test_a_line_is_as_wide_as_its_shape_says(self, height: int, width: int, wide: int) -> None:
        assert ppocr.line_width(crop(height, width)) == wide

    def test_it_lies_at_the_left_and_grey_is_behind_it(self) -> None:
        fitted = ppocr.fitted(crop(24, 50), 160)
        assert fitted.shape == (48, 160, 3)
        assert (fitted[:, :40] == 200).all()
        assert (fitted[:, 100:] == ppocr.PADDING).all()

    def test_a_longer_one_is_squeezed(self) -> None:
        fitted = ppocr.fitted(crop(48, 400), 160)
        assert (fitted[:, :78] == 200).all()
        assert (fitted[:, 82:] == 0).all()

    def test_turned_pixels_are_taken_too(self) -> None:
        assert ppocr.fitted(crop().turned_round(), 320).shape == (48, 320, 3)

    CHARACTERS = ("", "a", "b", " ")

    def answer(self, ids: list[int], scores: list[float] | None = None) -> dict[str, np.ndarray]:
        return {"ids": np.array(ids, np.int32), "scores": np.array(scores or [0.9] * len(ids), np.float32)}

    def test_classes_become_letters_and_their_scores_a_mean(self) -> None:
        words, score = ppocr.line(self.answer([0, 1, 1, 0, 1, 3, 2], [1, 0.8, 0.1, 1, 0.6, 1, 0.8]), self.CHARACTERS)
        assert words == "aa b"
        assert score == pytest.approx(0.8)

    def test_blanks_alone_are_no_text(self) -> None:
        assert ppocr.line(self.answer([0, 0, 0]), self.CHARACTERS) == ("", 0.0)

    @pytest.mark.parametrize(("ids", "score"), [([4], 0.9), ([1], np.nan)])
    def test_an_answer_that_makes_no_sense_is_a_broken_model(self, ids: list[int], score: float) -> None:
        with pytest.raises(PermanentError, match="makes no sense"):
            ppocr.line(self.answer(ids, [score]), self.CHARACTERS)


class TestTexts:
    def test_sure_lines_come_in_reading_order_with_their_polygons(self) -> None:
        below = Crop(crop().pixels, crop().quad + np.array([0, 100], np.float32))
        lines = ppocr.texts([below, crop()], [("second", 0.9), ("first", 0.8)], "ppocr-x")
        assert [line.text for line in lines] == ["first", "second"]
        assert lines[0].language == "ppocr-x"
        assert lines[0].score == 0.8
        np.testing.assert_array_equal(lines[1].polygon, below.quad)

    def test_unsure_and_empty_lines_are_left_out(self) -> None:
        assert ppocr.texts([crop()] * 3, [("maybe", 0.49), ("  ", 0.9), ("", 0.0)], "x") == ()
