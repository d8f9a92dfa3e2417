"""kizu_fast/ingest.py: what a folder comes to in the library, over the store in memory."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pictures import encoded, exif_with, jpeg, scene

from kizu_fast.domain import LIBRARY_OWNER
from kizu_fast.ingest import IngestOrder, IngestReport, ingest
from kizu_fast.store import FoundFile
from kizu_fast.store.memory_library import MemoryAssets
from kizu_fast.store.memory_state import MemoryDatabase

OLD = (1_600_000_000, 1_600_000_000)


@dataclass
class Shelf:
    """A folder and the library over it."""

    folder: Path
    roots: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase()
        self.assets = MemoryAssets(self.database)
        self.calls: list[int] = []

    def put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, OLD)
        return path

    def ingest(self, *paths: Path, operations: tuple[str, ...] = ("embedding", "objects"), **more: Any) -> IngestReport:
        order = IngestOrder(LIBRARY_OWNER, operations, self.roots, more.pop("max_pixels", 128_000_000), more.pop("max_file_bytes", 1 << 28))
        return asyncio.run(ingest(paths or [self.folder], store=self.assets, order=order, **more))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Shelf(folder)


def picture(n: int) -> bytes:
    return jpeg(scene(32 + n, 24))


def counts(report: IngestReport) -> tuple[int, int, int]:
    return report.registered, report.known, report.queued


def test_new_pictures_are_registered_and_queued_with_their_facts(shelf: Shelf) -> None:
    shelf.put("a.jpg", picture(1))
    shelf.put("sub/b.png", encoded(scene(), "PNG"))
    assert counts(shelf.ingest()) == (2, 0, 2)
    asset = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(shelf.folder / "a.jpg")))
    assert asset is not None
    assert (asset.width, asset.height, asset.byte_size) == (33, 24, (shelf.folder / "a.jpg").stat().st_size)


def test_the_upright_size_is_stored(shelf: Shelf) -> None:
    shelf.put("turned.jpg", jpeg(scene(40, 20), exif=exif_with(6)))
    shelf.ingest()
    asset = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(shelf.folder / "turned.jpg")))
    assert asset is not None
    assert (asset.width, asset.height) == (20, 40)


def test_a_second_pass_knows_everything_and_reads_nothing(shelf: Shelf) -> None:
    path = shelf.put("a.jpg", picture(1))
    shelf.ingest()
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))  # same size and time: taken for the same without a look
    os.utime(path, OLD)
    assert counts(shelf.ingest()) == (0, 1, 0)


def test_every_regular_file_counts_once(shelf: Shelf) -> None:
    shelf.put("a.jpg", picture(1))
    shelf.put("copy.jpg", picture(1))
    shelf.put("notes.txt", b"no picture")
    shelf.put(".hidden.jpg", picture(2))
    report = shelf.ingest()
    assert (report.registered, report.known, len(report.rejected)) == (1, 1, 1)
    assert report.rejected[0].path == str(shelf.folder / "notes.txt")
    assert "no picture" in report.rejected[0].reason


@pytest.mark.parametrize("name", ["noextension", "wrong.txt", "picture.dat"])
def test_a_picture_by_content_is_taken_whatever_its_name(shelf: Shelf, name: str) -> None:
    shelf.put(name, picture(1))
    assert counts(shelf.ingest()) == (1, 0, 1)


@pytest.mark.parametrize(("name", "content"), [("broken.jpg", b"\xff\xd8\xff broken"), ("text.jpg", b"hello"), ("empty.png", b"")])
def test_a_broken_file_with_a_pictures_name_is_registered_so_that_its_job_can_say_why(shelf: Shelf, name: str, content: bytes) -> None:
    shelf.put(name, content)
    assert counts(shelf.ingest()) == (1, 0, 1)


def test_a_picture_over_the_caps_is_registered_without_facts(shelf: Shelf) -> None:
    shelf.put("large.jpg", picture(1))
    assert counts(shelf.ingest(max_pixels=10)) == (1, 0, 1)


def test_a_changed_file_is_queued_again(shelf: Shelf) -> None:
    path = shelf.put("a.jpg", picture(1))
    shelf.ingest()
    path.write_bytes(picture(2))
    report = shelf.ingest()
    assert (report.registered, report.known, report.changed) == (0, 1, 1)


def test_a_moved_file_keeps_its_asset(shelf: Shelf) -> None:
    path = shelf.put("a.jpg", picture(1))
    shelf.ingest()
    before = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(path)))
    (shelf.folder / "sub").mkdir()
    path.rename(shelf.folder / "sub" / "b.jpg")
    report = shelf.ingest()
    after = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(shelf.folder / "sub" / "b.jpg")))
    assert before is not None
    assert after is not None
    assert (after.id, report.moved, report.registered) == (before.id, 1, 0)


def test_files_that_are_gone_are_counted_and_kept(shelf: Shelf) -> None:
    path = shelf.put("a.jpg", picture(1))
    shelf.put("b.jpg", picture(2))
    shelf.ingest()
    path.unlink()
    report = shelf.ingest()
    assert (report.missing, report.known) == (1, 1)
    assert asyncio.run(shelf.assets.counts(LIBRARY_OWNER)).assets == 2


def test_a_folder_that_is_gone_is_reported_with_what_stays(shelf: Shelf) -> None:
    shelf.put("sub/a.jpg", picture(1))
    shelf.ingest()
    (shelf.folder / "sub").rename(shelf.folder.parent / "elsewhere")
    report = shelf.ingest(shelf.folder / "sub")
    [rejected] = report.rejected
    assert "does not exist; 1 known photo below it stays" in rejected.reason
    assert asyncio.run(shelf.assets.counts(LIBRARY_OWNER)).assets == 1


def test_nothing_outside_library_root_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    shelf.roots = [shelf.folder]
    outside = tmp_path / "private"
    outside.mkdir()
    (outside / "x.jpg").write_bytes(picture(1))
    report = shelf.ingest(outside)
    assert report.registered == 0
    assert [one.path for one in report.rejected] == [str(outside / "x.jpg")]


def test_without_a_root_the_folders_given_are_remembered(shelf: Shelf) -> None:
    path = shelf.put("sub/a.jpg", picture(1))
    shelf.ingest(path)
    assert asyncio.run(shelf.assets.roots()) == [os.fsencode(shelf.folder / "sub")]
    shelf.ingest(shelf.folder)
    assert os.fsencode(shelf.folder) in asyncio.run(shelf.assets.roots())


def test_a_file_that_is_just_being_written_is_registered_as_unsettled(shelf: Shelf) -> None:
    found: list[FoundFile] = []

    class Watching(MemoryAssets):
        async def register(self, user: Any, files: Any, operations: Any, *, gone: Any = ()) -> Any:
            found.extend(files)
            return await super().register(user, files, operations, gone=gone)

    shelf.assets = Watching(shelf.database)
    (shelf.folder / "half.jpg").write_bytes(picture(1)[:20])  # its time is now
    shelf.put("old.jpg", picture(1)[:25])
    shelf.ingest()
    assert {os.path.basename(file.path): file.settled for file in found} == {b"half.jpg": False, b"old.jpg": True}  # noqa: PTH119


def test_many_files_go_in_few_calls(shelf: Shelf) -> None:
    calls: list[int] = []

    class Counting(MemoryAssets):
        async def register(self, user: Any, files: Any, operations: Any, *, gone: Any = ()) -> Any:
            calls.append(len(files))
            return await super().register(user, files, operations, gone=gone)

    shelf.assets = Counting(shelf.database)
    content = picture(1)
    for n in range(1200):
        shelf.put(f"{n % 7}/{n}.jpg", content + n.to_bytes(4, "big"))
    progress: list[int] = []
    report = shelf.ingest(on_progress=lambda done, _total: progress.append(done))
    assert report.registered == 1200
    assert calls == [500, 500, 200]
    assert progress == [500, 1000, 1200]


def test_the_json_document_names_paths_and_reasons(shelf: Shelf) -> None:
    shelf.put("a.txt", b"text")
    document = shelf.ingest().as_json()
    assert document["rejected"] == [{"path": str(shelf.folder / "a.txt"), "reason": "is no picture, neither by content nor by name"}]
    assert {"registered", "known", "queued", "rejected"} <= set(document)


def test_a_folder_without_permission_or_a_broken_link_does_not_end_the_walk(shelf: Shelf) -> None:
    shelf.put("a.jpg", picture(1))
    (shelf.folder / "0-broken.jpg").symlink_to(shelf.folder / "nothing.jpg")
    (shelf.folder / "loop").symlink_to(shelf.folder)
    report = shelf.ingest()
    assert counts(report) == (1, 0, 1)
    assert [Path(one.path).name for one in report.rejected] == ["0-broken.jpg"]


def test_a_link_that_leads_out_of_the_roots_is_rejected_unread(shelf: Shelf, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(3))
    (shelf.folder / "link.jpg").symlink_to(secret)
    report = shelf.ingest()
    assert counts(report) == (0, 0, 0)
    assert [one.reason for one in report.rejected] == ["is a link that leads outside LIBRARY_ROOT"]


def test_a_file_and_a_link_to_it_are_one_file(shelf: Shelf) -> None:
    shelf.put("a.jpg", picture(1))
    (shelf.folder / "z-link.jpg").symlink_to(shelf.folder / "a.jpg")
    assert counts(shelf.ingest()) == (1, 0, 1)
    assert counts(shelf.ingest(shelf.folder / "z-link.jpg", shelf.folder / "a.jpg")) == (0, 1, 0)


def test_a_name_that_is_no_text_is_one_asset(shelf: Shelf) -> None:
    name = os.fsencode(shelf.folder) + b"/\xe9\xff.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(picture(1))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert counts(shelf.ingest()) == (1, 0, 1)
    assert asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, name)) is not None
    assert counts(shelf.ingest()) == (0, 1, 0)


def test_names_that_differ_in_normalisation_only_are_one_asset_by_their_bytes(shelf: Shelf) -> None:
    shelf.put("caf\u00e9.jpg", picture(1))
    shelf.put("cafe\u0301.jpg", picture(1))
    report = shelf.ingest()
    assert (report.registered, asyncio.run(shelf.assets.counts(LIBRARY_OWNER)).assets) == (1, 1)


def test_a_moved_folder_keeps_its_assets_even_if_only_the_new_one_is_given(shelf: Shelf) -> None:
    old = shelf.put("old/a.jpg", picture(1))
    shelf.ingest(shelf.folder / "old")
    before = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(old)))
    (shelf.folder / "old").rename(shelf.folder / "new")
    report = shelf.ingest(shelf.folder / "new")
    after = asyncio.run(shelf.assets.by_path(LIBRARY_OWNER, os.fsencode(shelf.folder / "new" / "a.jpg")))
    assert before is not None
    assert after is not None
    assert (after.id, report.moved, report.registered) == (before.id, 1, 0)


def test_many_files_of_one_folder_by_name_are_asked_for_together(shelf: Shelf) -> None:
    asked: list[bytes] = []

    class Asking(MemoryAssets):
        async def known_paths(self, user: Any, below: bytes) -> Any:
            asked.append(below)
            return await super().known_paths(user, below)

    shelf.assets = Asking(shelf.database)
    files = [shelf.put(f"{n}.jpg", picture(n)) for n in range(20)]
    shelf.put("other.jpg", picture(30))
    assert shelf.ingest(*files).registered == 20
    assert asked == [os.fsencode(shelf.folder)]
    files[3].unlink()
    assert shelf.ingest(*files[:3], files[4], *files[5:]).missing == 0


def test_an_operation_asked_for_later_is_queued_for_known_files(shelf: Shelf) -> None:
    shelf.put("a.jpg", picture(1))
    shelf.ingest(operations=("embedding",))
    assert counts(shelf.ingest(operations=("embedding",))) == (0, 1, 0)
    assert counts(shelf.ingest(operations=("objects",))) == (0, 1, 1)


def test_a_file_over_the_cap_on_bytes_is_registered_without_being_held_in_memory(shelf: Shelf) -> None:
    path = shelf.folder / "huge.jpg"
    with path.open("wb") as file:
        file.write(picture(1))
        file.truncate(70_000_000)
    os.utime(path, OLD)
    assert counts(shelf.ingest(max_file_bytes=1_000_000)) == (1, 0, 1)
