"""The pictures that the suites paint: real JPEGs, as large as a camera's, no two files alike."""

import numpy as np
import pytest

from benchmarks import pictures
from kizu_fast import imaging

CAPS = {"max_pixels": 100_000_000, "max_bytes": 100_000_000}


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (160, 160), (1200, 100)])
def test_a_picture_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    painted = pictures.paint(1, width, height)
    assert (painted.shape, painted.dtype) == ((height, width, 3), np.uint8)


def test_the_same_seed_paints_the_same_picture_and_another_seed_another() -> None:
    first = pictures.paint(1, 160, 120)
    assert np.array_equal(first, pictures.paint(1, 160, 120))
    assert not np.array_equal(first, pictures.paint(2, 160, 120))


def test_files_of_one_picture_differ_in_their_bytes_only() -> None:
    painted = pictures.paint(1, 160, 120)
    one, two = pictures.encode(painted, 1), pictures.encode(painted, 2)
    assert one != two
    assert np.array_equal(imaging.decode(one, **CAPS)[0].pixels, imaging.decode(two, **CAPS)[0].pixels)


def test_a_numbered_copy_is_still_the_same_picture() -> None:
    first = pictures.encode(pictures.paint(1, 160, 120), 0)
    again = pictures.numbered(first, 17)
    assert again != first
    assert np.array_equal(imaging.decode(again, **CAPS)[0].pixels, imaging.decode(first, **CAPS)[0].pixels)


def test_the_decoder_of_the_project_takes_them() -> None:
    facts = imaging.read_facts(pictures.encode(pictures.paint(3, 320, 240), 3), **CAPS)
    assert (facts.width, facts.height, facts.mime_type) == (320, 240, "image/jpeg")


def test_a_camera_picture_has_a_camera_s_size_and_bytes() -> None:
    jpeg = pictures.encode(pictures.paint(0, *pictures.CAMERA), 0)
    facts = imaging.read_facts(jpeg, **CAPS)
    assert (facts.width, facts.height) == (4032, 3024)
    assert 2_200_000 < len(jpeg) < 2_800_000
