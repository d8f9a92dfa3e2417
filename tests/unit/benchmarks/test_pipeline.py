"""What the suites are made of besides their clocks: the files, the bulk rows, the sums per stage, the statements."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fill, workspace
from benchmarks.bench import Bench
from benchmarks.command import Request, measured
from benchmarks.pipeline import CASES, TARGET, photos_in, write_photos
from kizu_fast import imaging

PACKAGE = Path(workspace.__file__).parent
STATEMENTS = sorted(path.stem for path in (PACKAGE / "sql").glob("*.sql"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pipeline") / "photos"
    write_photos(folder, 3, distinct=1)
    return photos_in(folder)


def test_photos_are_numbered_in_their_order(photos: list[Path]) -> None:
    assert [path.name for path in photos] == ["00000.jpg", "00001.jpg", "00002.jpg"]


def test_no_two_photos_are_the_same_file(photos: list[Path]) -> None:
    assert len({path.read_bytes() for path in photos}) == len(photos)


def test_every_photo_has_twelve_megapixels(photos: list[Path]) -> None:
    facts = [imaging.read_facts(path.read_bytes(), max_pixels=10**8, max_bytes=10**8) for path in photos]
    assert {(one.width, one.height) for one in facts} == {(4032, 3024)}


def test_a_second_set_of_photos_in_one_folder_is_refused(photos: list[Path]) -> None:
    with pytest.raises(FileExistsError):
        write_photos(photos[0].parent, 1, distinct=1)


def test_the_promised_ratio_is_that_of_the_larger_detector() -> None:
    targets: Mapping[str, float | None] = {case.yolo_size: case.target for case in CASES}
    assert targets == {"m": TARGET, "n": None}
    assert TARGET == 0.90


@pytest.mark.parametrize(("count", "dim"), [(1, 4), (50, 512)])
def test_vectors_in_bulk_are_units_and_differ(count: int, dim: int) -> None:
    vectors = fill.unit_vectors(count, 1, dim)
    assert (vectors.shape, vectors.dtype) == ((count, dim), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(count), abs=1e-5)
    assert len(np.unique(vectors, axis=0)) == count


def test_vectors_of_one_seed_are_the_same_in_every_run() -> None:
    assert np.array_equal(fill.unit_vectors(3, 9), fill.unit_vectors(3, 9))
    assert not np.array_equal(fill.unit_vectors(3, 9), fill.unit_vectors(3, 8))


def test_every_statement_that_is_used_is_there_and_every_one_there_is_used() -> None:
    used = {name for path in PACKAGE.glob("*.py") for name in re.findall(r'\bsql\("(\w+)"\)', path.read_text())}
    assert sorted(used) == STATEMENTS


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_says_who_uses_it(name: str) -> None:
    assert workspace.sql(name).startswith("-- ")


async def test_an_interrupted_run_passes_the_interruption_on() -> None:
    async def interrupted(_bench: Bench) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await measured(Request([]), {"interrupted": interrupted})


async def test_a_suite_that_fails_ends_the_run() -> None:
    ran: list[str] = []

    async def first(_bench: Bench) -> None:
        ran.append("first")
        raise OSError("the disk is gone")

    async def never(_bench: Bench) -> None:
        ran.append("never")

    with pytest.raises(OSError, match="the disk is gone"):
        await measured(Request([]), {"first": first, "never": never})
    assert ran == ["first"]
