"""Cutting lines, reading order and greedy CTC."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.domain import Photo
from kizu_fast.models import text


def quad(left: float, top: float, width: float, height: float) -> np.ndarray:
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]], np.float32)


def around(points: np.ndarray, centre: tuple[float, float], degrees: float) -> np.ndarray:
    """Turned clockwise as seen on a screen."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((points - np.array(centre)) @ turn + np.array(centre)).astype(np.float32)


@pytest.fixture
def letter() -> np.ndarray:
    """A picture with an L, which looks different after every turn."""
    pixels = np.full((60, 100, 3), 255, np.uint8)
    cv2.rectangle(pixels, (20, 10), (25, 49), (0, 0, 0), -1)
    cv2.rectangle(pixels, (20, 44), (69, 49), (0, 0, 0), -1)
    return pixels


def test_an_upright_quad_is_cut_as_it_is(letter: np.ndarray) -> None:
    np.testing.assert_array_equal(text.cut(letter, quad(10, 5, 70, 50)), letter[5:55, 10:80])


def test_grey_pictures_are_cut_too(letter: np.ndarray) -> None:
    assert text.cut(letter[..., 0], quad(10, 5, 70, 50)).shape == (50, 70)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_quad_is_cut_as_the_turned_picture_shows_it(letter: np.ndarray, quarters: int) -> None:
    cropped = text.cut(letter, text.turned(quad(0, 0, 100, 60), quarters))
    expected = np.rot90(letter, quarters)
    assert cropped.shape == expected.shape
    # the warp counts from pixel middles, so a turned cut may lie one pixel beside the turned picture
    assert np.abs(cropped.astype(int) - expected).mean() < 12
    assert np.abs(cropped.astype(int) - np.rot90(letter, quarters + 2)).mean() > 20


def test_four_quarter_turns_change_nothing() -> None:
    np.testing.assert_array_equal(text.turned(quad(1, 2, 3, 4), 4), quad(1, 2, 3, 4))


def test_a_tilted_line_comes_out_straight() -> None:
    pixels = np.full((200, 300, 3), 255, np.uint8)
    line = around(quad(50, 90, 200, 20), (150, 100), 20)
    cv2.fillConvexPoly(pixels, line.astype(np.int32), (0, 0, 0))
    cropped = text.cut(pixels, line)
    assert abs(cropped.shape[0] - 20) <= 1
    assert abs(cropped.shape[1] - 200) <= 1
    assert cropped[3:-3, 3:-3].max() < 40


def test_beyond_the_picture_its_edge_goes_on() -> None:
    pixels = np.full((20, 20, 3), 77, np.uint8)
    assert (text.cut(pixels, quad(-10, -10, 40, 40)) == 77).all()


@pytest.mark.parametrize(("shape", "size"), [((10.9, 20.9), (20, 10)), ((0.2, 0.1), (1, 1))])
def test_sizes_are_whole_and_never_empty(shape: tuple[float, float], size: tuple[int, int]) -> None:
    assert text.quad_size(quad(0, 0, *shape)) == size


def test_of_two_opposite_sides_the_longer_counts() -> None:
    assert text.quad_size(np.array([[0, 0], [30, 0], [50, 10], [0, 12]], np.float32)) == (22, 50)


def test_points_of_the_original_lie_on_the_scaled_picture() -> None:
    photo = Photo(np.zeros((75, 100, 3), np.uint8), 400, 300)
    np.testing.assert_allclose(text.onto_decoded(photo, quad(40, 30, 200, 100)), quad(10, 7.5, 50, 25))


@given(st.permutations(range(4)), st.floats(-40, 40))
def test_corners_come_clockwise_from_the_top_left_whatever_their_order(order: list[int], degrees: float) -> None:
    line = around(quad(20, 20, 200, 30), (120, 35), degrees)
    np.testing.assert_array_equal(text.clockwise(line[order]), line)


def test_rows_are_read_from_left_to_right_and_top_to_bottom() -> None:
    quads = [quad(200, 12, 90, 20), quad(10, 60, 90, 20), quad(10, 10, 90, 20), quad(120, 57, 90, 20)]
    assert text.reading_order(quads) == [2, 0, 1, 3]


def test_small_print_beside_large_letters_keeps_its_rows() -> None:
    """Two small lines beside one large one: the large one's middle lies between them."""
    quads = [quad(0, 0, 200, 100), quad(220, 5, 80, 20), quad(220, 75, 80, 20)]
    order = text.reading_order(quads)
    assert order.index(1) < order.index(2)


def test_nothing_is_read_of_nothing() -> None:
    assert text.reading_order([]) == []


@pytest.mark.parametrize("degrees", [0, 7, -12, 90, 180, 270, 173])
def test_a_turned_or_tilted_page_is_read_as_if_it_were_upright(degrees: float) -> None:
    upright = [quad(10 + 130 * column, 10 + 40 * row, 120, 24) for row in range(4) for column in range(3)]
    page = [around(one, (200, 100), degrees) for one in upright]
    shuffled = np.random.default_rng(3).permutation(len(page))
    order = text.reading_order([page[i] for i in shuffled])
    assert [int(shuffled[i]) for i in order] == list(range(len(page)))


def test_the_longest_lines_decide_how_the_page_is_turned() -> None:
    """A short label that runs upwards does not turn a page of lines that run to the right."""
    lines = [quad(30, 10 + 30 * row, 300, 20) for row in range(3)]
    label = text.turned(quad(0, 10, 20, 60), 1)
    order = text.reading_order([lines[2], label, lines[0], lines[1]])
    assert [i for i in order if i != 1] == [2, 3, 0]


def test_lines_without_an_extent_are_put_somewhere() -> None:
    assert sorted(text.reading_order([np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)])) == [0, 1]


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([0, 0, 0], []),
        ([5, 5, 0, 5], [5, 5]),
        ([5, 6, 6, 0, 0, 7], [5, 6, 7]),
        ([5], [5]),
        ([], []),
        ([0, 3, 3, 3, 0], [3]),
    ],
)
def test_repeated_classes_count_once_and_blanks_part_them(ids: list[int], read: list[int]) -> None:
    got, scores = text.greedy_ctc(np.array(ids, np.int32), np.linspace(0.1, 0.9, len(ids)))
    assert got == read
    assert len(scores) == len(read)


def test_the_first_step_of_a_class_gives_its_score() -> None:
    assert text.greedy_ctc(np.array([4, 4, 0, 2]), np.array([0.7, 0.9, 1.0, 0.5]))[1] == pytest.approx([0.7, 0.5])


def test_another_blank_may_be_named() -> None:
    assert text.greedy_ctc(np.array([9, 0, 0, 9]), np.ones(4), blank=9)[0] == [0]


@given(st.lists(st.integers(0, 3), max_size=30))
def test_greedy_ctc_equals_the_definition(ids: list[int]) -> None:
    expected = [one for i, one in enumerate(ids) if one != 0 and (i == 0 or ids[i - 1] != one)]
    assert text.greedy_ctc(np.array(ids, np.int32), np.ones(len(ids)))[0] == expected


@pytest.mark.parametrize(("wanted", "width"), [(1, 96), (96, 96), (97, 160), (9000, 320)])
def test_a_line_gets_the_smallest_bucket_that_holds_it(wanted: int, width: int) -> None:
    assert text.width_for(wanted, (96, 160, 320)) == width
