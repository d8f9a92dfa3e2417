"""Real files in a temporary folder; nothing leads out of the roots and nothing waits."""

import os
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from privilege import forbidden

from kizu_fast.domain import LIBRARY_OWNER, Asset
from kizu_fast.errors import FileUnsettled, ImageTooLarge, Outage, PermanentError, SourceUnavailable
from kizu_fast.sources import FileBytes, LibrarySource, below, shown

MAX = 1_000_000


def asset(path: Path | bytes) -> Asset:
    return Asset(uuid4(), LIBRARY_OWNER, os.fsencode(path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "library" / "sub").mkdir(parents=True)
    (tmp_path / "library" / "sub" / "a.jpg").write_bytes(b"inside")
    (tmp_path / "library2").mkdir()
    (tmp_path / "library2" / "secret.jpg").write_bytes(b"outside")
    return tmp_path / "library"


def read(root: Path, path: Path | bytes, max_bytes: int = MAX) -> FileBytes:
    return LibrarySource([root]).read(asset(path), max_bytes)


def test_a_file_comes_with_its_size_and_time(root: Path) -> None:
    path = root / "sub" / "a.jpg"
    os.utime(path, ns=(5, 1_600_000_000_123_456_789))
    assert read(root, path) == FileBytes(b"inside", 6, path.stat().st_mtime_ns)


def test_names_need_not_be_text(root: Path) -> None:
    path = os.fsencode(root) + b"/\xff\xfe\n.jpg"
    try:
        Path(os.fsdecode(path)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert read(root, path).data == b"x"
    with pytest.raises(PermanentError) as caught:
        read(root, path + b"?")
    assert "\n" not in str(caught.value)


def test_files_outside_the_roots_are_refused_by_every_way_in(root: Path) -> None:
    secret = root.parent / "library2" / "secret.jpg"
    (root / "link.jpg").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    for path in (secret, root / ".." / "library2" / "secret.jpg", root / "link.jpg", root / "folder" / "secret.jpg", Path("/etc/passwd")):
        with pytest.raises(PermanentError, match="outside LIBRARY_ROOT"):
            read(root, path)
        assert not LibrarySource([root]).inside(os.fsencode(path))


def test_links_inside_the_roots_are_followed(root: Path) -> None:
    (root / "again.jpg").symlink_to(root / "sub" / "a.jpg")
    (root / "other").symlink_to(root / "sub")
    assert read(root, root / "again.jpg").data == read(root, root / "other" / "a.jpg").data == b"inside"


def test_a_root_may_itself_be_a_link(root: Path) -> None:
    door = root.parent / "door"
    door.symlink_to(root)
    assert LibrarySource([door]).read(asset(door / "sub" / "a.jpg"), MAX).data == b"inside"
    assert LibrarySource([door]).read(asset(root / "sub" / "a.jpg"), MAX).data == b"inside"
    assert LibrarySource([root]).inside(os.fsencode(door / "new.jpg"))


def test_one_of_several_roots_is_enough(root: Path) -> None:
    source = LibrarySource([os.fsencode(root), root.parent / "library2"])
    assert source.read(asset(root.parent / "library2" / "secret.jpg"), MAX).data == b"outside"


def test_without_roots_nothing_is_read(root: Path) -> None:
    with pytest.raises(PermanentError, match="outside"):
        LibrarySource([]).read(asset(root / "sub" / "a.jpg"), MAX)


def test_a_missing_file_is_gone_for_good(root: Path) -> None:
    for name in ("none.jpg", "sub/a.jpg/none.jpg"):
        with pytest.raises(PermanentError, match="the file is gone"):
            read(root, root / name)


def test_a_missing_root_is_an_outage(root: Path) -> None:
    source = LibrarySource([root])
    root.rename(root.parent / "unplugged")
    with pytest.raises(SourceUnavailable, match="is its drive mounted") as caught:
        source.read(asset(root / "sub" / "a.jpg"), MAX)
    assert isinstance(caught.value, Outage)
    (root.parent / "unplugged").rename(root)
    assert source.read(asset(root / "sub" / "a.jpg"), MAX).data == b"inside"


def test_a_missing_root_behind_a_link_is_an_outage_too(root: Path) -> None:
    door = root.parent / "door"
    door.symlink_to(root)
    source = LibrarySource([door])
    root.rename(root.parent / "unplugged")
    for path in (door / "sub" / "a.jpg", root / "sub" / "a.jpg"):
        with pytest.raises(SourceUnavailable):
            source.read(asset(path), MAX)


def test_the_cap_on_bytes_names_its_setting(root: Path) -> None:
    assert read(root, root / "sub" / "a.jpg", 6).byte_size == 6
    with pytest.raises(ImageTooLarge, match=r"a\.jpg: the file has 6 bytes, more than KIZU_MAX_FILE_BYTES=5 allows"):
        read(root, root / "sub" / "a.jpg", 5)


def test_a_file_without_end_is_not_read_to_memory(root: Path) -> None:
    path = root / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ImageTooLarge):
        read(root, path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.timeout(20)
def test_a_fifo_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(PermanentError, match="no regular file"):
        read(root, root / "pipe.jpg")


def test_a_folder_is_no_file(root: Path) -> None:
    with pytest.raises(PermanentError):
        read(root, root / "sub")


def test_a_loop_of_links_ends(root: Path) -> None:
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    with pytest.raises(PermanentError, match="cannot be read"):
        read(root, root / "a")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no such permissions")
def test_a_file_without_permission_is_the_files_own_fault() -> None:
    with forbidden("sub/a.jpg", "closed") as folder:
        for name in ("sub/a.jpg", "closed/b.jpg"):
            with pytest.raises(PermanentError, match="Permission denied"):
                read(folder, folder / name)


def test_an_asset_without_a_path_says_so(root: Path) -> None:
    with pytest.raises(PermanentError, match="no path in the local library"):
        read(root, b"")


def test_a_file_that_grows_while_it_is_read_is_unsettled(root: Path) -> None:
    """A writer appends all the time: either the whole file of one moment comes back, or the error that defers the job."""
    path, stop = root / "growing.jpg", threading.Event()
    path.write_bytes(b"x" * 3_000_000)

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set() and file.tell() < 60_000_000:
                file.write(b"y" * 1000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        unsettled = 0
        for _ in range(20):
            try:
                got = LibrarySource([root]).read(asset(path), 100_000_000)
            except FileUnsettled:
                unsettled += 1
            else:
                assert len(got.data) == got.byte_size
    finally:
        stop.set()
        writer.join()
    assert unsettled


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_no_descriptor_is_left_open(root: Path) -> None:
    source = LibrarySource([root])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count
    for name in ("sub/a.jpg", "none.jpg", "sub", "../library2/secret.jpg") * 5:
        try:
            source.read(asset(root / name), 3 if name == "sub/a.jpg" else MAX)
        except PermanentError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_below_compares_whole_names() -> None:
    assert below(b"/a/b", b"/a")
    assert below(b"/a", b"/a")
    assert below(b"/a", b"/")
    assert not below(b"/ab", b"/a")
    assert not below(b"/", b"/a")


def test_paths_are_shown_in_one_printable_line() -> None:
    assert shown(b"/a\n\x1b[31m\xff.jpg") == "/a??[31m?.jpg"
    assert shown("/写真/é.jpg".encode()) == "/写真/é.jpg"
