"""Thumbnails as files: where, readable by whom, and what remains of them."""

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from privilege import NOBODY

from kizu_fast.domain import Thumbnail
from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.portraits import FOLDER, Portraits, path_of

ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)
ASSET, OTHER = uuid.UUID(int=10), uuid.UUID(int=11)
ONE, TWO = Thumbnail("a" * 32, b"small", b"large"), Thumbnail("b" * 32, b"small too", b"large too")


@pytest.fixture
def portraits(tmp_path: Path) -> Portraits:
    return Portraits(tmp_path / "data")


def put(portraits: Portraits, user: uuid.UUID, asset: uuid.UUID, *thumbnails: Thumbnail) -> list[str]:
    wanted = {path_of(user, asset, thumbnail.digest): thumbnail for thumbnail in thumbnails}
    portraits.write(wanted)
    return list(wanted)


def everything(portraits: Portraits) -> list[str]:
    return sorted(str(path.relative_to(portraits.folder)) for path in portraits.folder.rglob("*") if path.is_file())


def test_a_thumbnail_lies_below_its_user_and_its_photo(portraits: Portraits) -> None:
    (path,) = put(portraits, ALICE, ASSET, ONE)
    assert path == f"{ALICE}/00/{ASSET}/{'a' * 32}"
    assert everything(portraits) == [f"{path}-112.webp", f"{path}-224.webp"]
    assert [file.read_bytes() for file in portraits.files(path)] == [b"small", b"large"]
    assert portraits.has(path)


def test_nobody_but_the_owner_can_read_them(portraits: Portraits) -> None:
    before = os.umask(0)
    try:
        put(portraits, ALICE, ASSET, ONE)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in portraits.folder.rglob("*") if path.is_dir()} | {
        stat.S_IMODE(portraits.folder.stat().st_mode)
    }
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in portraits.folder.rglob("*.webp")} == {0o600}


def test_what_is_there_is_not_written_again(portraits: Portraits) -> None:
    (path,) = put(portraits, ALICE, ASSET, ONE)
    before = [file.stat().st_ino for file in portraits.files(path)]
    put(portraits, ALICE, ASSET, ONE)
    assert [file.stat().st_ino for file in portraits.files(path)] == before


@pytest.mark.parametrize("damage", ["absent", "empty"])
def test_a_size_that_is_missing_or_empty_is_written_again(portraits: Portraits, damage: str) -> None:
    (path,) = put(portraits, ALICE, ASSET, ONE)
    small = portraits.files(path)[0]
    small.unlink() if damage == "absent" else small.write_bytes(b"")
    assert not portraits.has(path)
    put(portraits, ALICE, ASSET, ONE)
    assert portraits.has(path)


def test_only_the_wanted_files_of_a_photo_are_kept(portraits: Portraits) -> None:
    first, second = put(portraits, ALICE, ASSET, ONE, TWO)
    put(portraits, ALICE, OTHER, ONE)
    place = portraits.files(first)[0].parent
    (place / ".part-broken").write_bytes(b"half")
    assert portraits.superfluous(ALICE, ASSET, [first]) == {
        f"{second}-112.webp",
        f"{second}-224.webp",
        f"{place.relative_to(portraits.folder)}/.part-broken",
    }
    assert portraits.keep_only(ALICE, ASSET, [first]) == 3
    assert portraits.superfluous(ALICE, ASSET, [first]) == set()
    assert portraits.has(first)
    assert portraits.has(path_of(ALICE, OTHER, ONE.digest))


def test_a_photo_without_faces_leaves_no_empty_folder(portraits: Portraits) -> None:
    put(portraits, ALICE, ASSET, ONE)
    assert portraits.keep_only(ALICE, ASSET, []) == 2
    assert list(portraits.folder.iterdir()) == []


def test_forgetting_takes_the_photos_of_one_user_alone(portraits: Portraits) -> None:
    put(portraits, ALICE, ASSET, ONE)
    put(portraits, BOB, ASSET, ONE)
    put(portraits, ALICE, OTHER, TWO)
    portraits.forget(ALICE, [ASSET, uuid.UUID(int=99)])
    assert {path.split("/")[0] for path in everything(portraits) if str(ASSET) in path} == {str(BOB)}
    assert sum(str(OTHER) in path for path in everything(portraits)) == 2


def test_clearing_takes_everything_and_nothing_is_no_error(portraits: Portraits) -> None:
    portraits.clear()
    put(portraits, ALICE, ASSET, ONE)
    portraits.clear()
    assert not portraits.folder.exists()
    assert portraits.folder.parent.exists()


def test_photos_are_found_by_their_folders_and_other_things_are_left_alone(portraits: Portraits) -> None:
    put(portraits, ALICE, ASSET, ONE)
    put(portraits, BOB, OTHER, ONE)
    (portraits.folder / "notes" / "my" / "own").mkdir(parents=True)
    assert sorted(portraits.photos()) == [(ALICE, ASSET), (BOB, OTHER)]


def test_no_folder_is_no_photo(portraits: Portraits) -> None:
    assert list(portraits.photos()) == []
    assert portraits.of(ALICE, ASSET) == set()
    assert not portraits.has(path_of(ALICE, ASSET, ONE.digest))
    portraits.forget(ALICE, [ASSET])


def test_the_first_database_claims_the_folder(portraits: Portraits) -> None:
    assert portraits.claimed_by("one")
    assert portraits.claimed_by("one")
    assert not portraits.claimed_by("another")


@pytest.fixture
def closed() -> Iterator[Portraits]:
    """Alice's thumbnails in a folder that this process may enter and not change."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    portraits = Portraits(home)
    put(portraits, ALICE, ASSET, ONE)
    for folder in (portraits.folder, *(path for path in portraits.folder.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    yield portraits
    if root:
        os.seteuid(0)
    for folder in (portraits.folder, *(path for path in portraits.folder.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    shutil.rmtree(home)


def test_a_folder_that_cannot_be_written_is_an_outage_that_names_it(closed: Portraits) -> None:
    with pytest.raises(DatabaseUnavailable, match=rf"{FOLDER}: thumbnails of faces cannot be written: Permission denied"):
        put(closed, ALICE, ASSET, TWO)


def test_a_file_that_cannot_be_deleted_is_named(closed: Portraits) -> None:
    for delete in (lambda: closed.keep_only(ALICE, ASSET, []), lambda: closed.forget(ALICE, [ASSET]), closed.clear):
        with pytest.raises(ConfigError, match="cannot be deleted: Permission denied; delete them by hand"):
            delete()


def test_a_folder_of_somebody_else_is_not_claimed(closed: Portraits) -> None:
    assert not closed.claimed_by("one")


def test_a_file_where_a_folder_should_be_is_an_outage_too(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match="thumbnails of faces cannot be written"):
        put(Portraits(tmp_path), ALICE, ASSET, ONE)
