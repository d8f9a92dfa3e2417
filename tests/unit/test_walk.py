"""Every regular file once, nothing outside the roots, and an end to every walk."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest
from privilege import forbidden

from kizu_fast.walk import Rejected, Seen, Walk, real_names


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def walked(*paths: Path, roots: Iterable[Path] | None = None) -> tuple[list[str], list[Rejected]]:
    """Names of the files in order, and the rejections."""
    outcomes = list(Walk(real_names(paths), real_names(paths if roots is None else roots)).files())
    seen = [os.path.relpath(os.fsdecode(one.path), Path(os.path.commonpath([*paths])).resolve()) for one in outcomes if isinstance(one, Seen)]
    return seen, [one for one in outcomes if isinstance(one, Rejected)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path / "lib" / "b.jpg", tmp_path / "lib" / "a" / "2.jpg", tmp_path / "lib" / "a" / "1.jpg", tmp_path / "lib" / "a" / "deep" / "x.jpg")
    return tmp_path / "lib"


def test_files_come_once_with_size_and_time(root: Path) -> None:
    os.utime(root / "b.jpg", ns=(1, 1_600_000_000_000_000_007))
    outcomes = list(Walk(real_names([root / "b.jpg"]), real_names([root])).files())
    assert outcomes == [Seen(os.fsencode(root.resolve() / "b.jpg"), 1, (root / "b.jpg").stat().st_mtime_ns)]
    assert walked(root) == (["b.jpg", "a/1.jpg", "a/2.jpg", "a/deep/x.jpg"], [])


def test_paths_that_overlap_count_once(root: Path) -> None:
    seen, _ = walked(root, root / "a", root / "a" / "1.jpg", root)
    assert sorted(seen) == ["a/1.jpg", "a/2.jpg", "a/deep/x.jpg", "b.jpg"]
    seen, _ = walked(root / "a" / "1.jpg", root / "a" / "1.jpg", root / "a", root)
    assert sorted(Path(name).name for name in seen) == ["1.jpg", "2.jpg", "b.jpg", "x.jpg"]


def test_dot_files_and_the_systems_own_are_passed_over(root: Path) -> None:
    for name in (
        ".DS_Store",
        ".hidden/x.jpg",
        "._b.jpg",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir/b.jpg/THUMB.jpg",
        "$RECYCLE.BIN/x.jpg",
        "__MACOSX/x.jpg",
        "lost+found/x.jpg",
    ):
        touch(root / name)
    assert walked(root)[0] == ["b.jpg", "a/1.jpg", "a/2.jpg", "a/deep/x.jpg"]


def test_a_hidden_folder_that_is_asked_for_is_walked(root: Path) -> None:
    touch(root / ".hidden" / "x.jpg")
    assert walked(root / ".hidden")[0] == ["x.jpg"]


@pytest.mark.timeout(20)
def test_loops_of_links_end(root: Path) -> None:
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a" / "self")
    (root / "a" / "deep" / "again").symlink_to(root / "a")
    seen, rejected = walked(root)
    assert sorted(seen) == ["a/1.jpg", "a/2.jpg", "a/deep/x.jpg", "b.jpg"]
    assert [Path(one.path).name for one in rejected] == ["self"]


def test_links_inside_are_followed_to_the_one_file_they_name(root: Path) -> None:
    touch(root.parent / "more" / "m.jpg")
    (root / "a" / "twin.jpg").symlink_to(root / "b.jpg")
    (root / "folder").symlink_to(root.parent / "more")
    (root / "single.jpg").symlink_to(root.parent / "more" / "m.jpg")
    seen, rejected = walked(root, roots=[root, root.parent / "more"])
    assert sorted(seen) == ["../more/m.jpg", "a/1.jpg", "a/2.jpg", "a/deep/x.jpg", "b.jpg"]
    assert rejected == []


def test_links_that_lead_outside_are_reported_and_not_followed(root: Path) -> None:
    touch(root.parent / "secret" / "s.jpg")
    (root / "out.jpg").symlink_to(root.parent / "secret" / "s.jpg")
    (root / "outside").symlink_to(root.parent / "secret")
    seen, rejected = walked(root)
    assert len(seen) == 4
    assert {(Path(one.path).name, one.reason) for one in rejected} == {
        (name, "is a link that leads outside LIBRARY_ROOT") for name in ("out.jpg", "outside")
    }


def test_a_link_that_leads_nowhere_is_reported(root: Path) -> None:
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    assert [(Path(one.path).name, one.reason) for one in walked(root)[1]] == [("dangling.jpg", "cannot be read (No such file or directory)")]


def test_every_file_outside_the_roots_is_reported(root: Path) -> None:
    touch(root.parent / "other" / "1.jpg", root.parent / "other" / "sub" / "2.jpg")
    seen, rejected = walked(root.parent / "other", root.parent / "other" / "1.jpg", roots=[root])
    assert seen == []
    assert [(Path(one.path).name, one.reason) for one in rejected] == [("1.jpg", "lies outside LIBRARY_ROOT"), ("2.jpg", "lies outside LIBRARY_ROOT")]


def test_a_folder_above_the_root_is_taken_as_far_as_the_root_goes(root: Path) -> None:
    touch(root.parent / "other.jpg")
    seen, rejected = walked(root.parent, roots=[root])
    assert sorted(seen) == ["lib/a/1.jpg", "lib/a/2.jpg", "lib/a/deep/x.jpg", "lib/b.jpg"]
    assert [Path(one.path).name for one in rejected] == ["other.jpg"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no such permissions")
def test_a_folder_without_permission_is_reported_and_the_walk_goes_on() -> None:
    with forbidden("a", "b/x.jpg", "c") as folder:
        seen, rejected = walked(folder)
    assert seen == ["b/x.jpg"]
    assert [(Path(one.path).name, one.reason) for one in rejected] == [(name, "cannot be read (Permission denied)") for name in ("a", "c")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_pipes_are_passed_over_and_said_to_be_no_files_when_asked_for(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    assert walked(root)[1] == []
    assert [one.reason for one in walked(root / "pipe.jpg", roots=[root])[1]] == ["is neither a file nor a folder"]


def test_names_that_are_no_text_are_kept_as_bytes(root: Path) -> None:
    name = os.fsencode(root.resolve()) + b"/\xe9\xff.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert name in [one.path for one in Walk(real_names([root]), real_names([root])).files() if isinstance(one, Seen)]


def test_real_names_are_absolute_resolved_and_without_repetition(root: Path) -> None:
    (root.parent / "door").symlink_to(root)
    expected = os.fsencode(root.resolve() / "a" / "1.jpg")
    spellings = [
        root / "a" / "1.jpg",
        root / "a" / ".." / "a" / "1.jpg",
        root.parent / "door" / "a" / "1.jpg",
        Path(os.path.relpath(root / "a" / "1.jpg")),
    ]
    assert real_names(spellings) == [expected]
    assert real_names([Path("/")]) == [b"/"]
    assert real_names([root / "none" / "x.jpg"]) == [os.fsencode(root.resolve() / "none" / "x.jpg")]


def test_a_name_under_another_spelling_is_the_listed_one(root: Path) -> None:
    """On file systems that ignore case or normalise; elsewhere other spellings are other files, and stay what they are."""
    touch(root / unicodedata.normalize("NFC", "é.jpg"))
    for spelling in (unicodedata.normalize("NFD", "é.jpg"), "É.JPG"):
        (got,) = real_names([root / spelling])
        listed = os.listdir(os.fsencode(root.resolve()))  # noqa: PTH208  # bytes
        assert (os.path.basename(got) in listed) == (root / spelling).exists()  # noqa: PTH119  # bytes
