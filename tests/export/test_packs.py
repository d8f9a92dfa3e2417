"""Which file of a pack does what, where a pack comes from, and what is said when a part is missing."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from made_packs import detector, embedder, landmarks, pack, zipped

from export import packs
from export.download import Downloader, Unreachable
from export.sources.face import PACKS
from kizu_fast.errors import ConfigError

Server = Callable[[httpx.Request], httpx.Response]


def test_the_files_of_a_full_pack_are_told_by_their_shapes(tmp_path: Path) -> None:
    found = packs.read(pack(tmp_path / "buffalo_l"))
    assert (packs.detector(found).name, packs.embedder(found).name) == ("det_10g.onnx", "w600k_r50.onnx")


def test_names_decide_nothing(tmp_path: Path) -> None:
    detector(tmp_path / "z.onnx")
    embedder(tmp_path / "a.onnx", dim=128)
    landmarks(tmp_path / "m.onnx", 192)
    found = packs.read(tmp_path)
    assert (packs.detector(found).name, packs.embedder(found).name) == ("z.onnx", "a.onnx")


def test_of_two_embedders_the_first_by_name_is_taken(tmp_path: Path) -> None:
    detector(tmp_path / "det.onnx")
    for name in ("second.onnx", "first.onnx"):
        embedder(tmp_path / name)
    assert packs.embedder(packs.read(tmp_path)).name == "first.onnx"


def test_a_pack_without_an_embedder_says_which_file_is_wanted(tmp_path: Path) -> None:
    found = packs.read(pack(tmp_path / "buffalo_m", detects="det_2.5g", embeds=None))
    assert packs.detector(found).name == "det_2.5g.onnx"
    with pytest.raises(ConfigError, match=r"buffalo_m holds no face embedder .*\[N, 3, 112, 112\].*w600k_r50\.onnx.*FACE_MODEL_NAME"):
        packs.embedder(found)


def test_a_pack_without_a_detector_says_which_file_is_wanted(tmp_path: Path) -> None:
    embedder(tmp_path / "w600k_r50.onnx")
    with pytest.raises(ConfigError, match=r"holds no face detector .*det_10g\.onnx.*add its file"):
        packs.detector(packs.read(tmp_path))


def test_an_embedder_for_other_crops_is_none(tmp_path: Path) -> None:
    detector(tmp_path / "det.onnx")
    embedder(tmp_path / "large.onnx", side=224)
    with pytest.raises(ConfigError, match="holds no face embedder"):
        packs.embedder(packs.read(tmp_path))


def test_a_detector_without_landmarks_is_refused_with_the_reason(tmp_path: Path) -> None:
    detector(tmp_path / "scrfd_10g.onnx", outputs=6)
    with pytest.raises(ConfigError, match=r"scrfd_10g.onnx finds no landmarks, and faces cannot be aligned without them.*buffalo_l"):
        packs.detector(packs.read(tmp_path))


def test_a_detector_with_other_outputs_is_refused(tmp_path: Path) -> None:
    detector(tmp_path / "det.onnx", outputs=8)
    with pytest.raises(ConfigError, match="has 8 outputs, 9 are known"):
        packs.detector(packs.read(tmp_path))


def test_a_file_that_is_no_onnx_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"<html>not found</html>")
    with pytest.raises(ConfigError, match=r"broken.onnx is no ONNX file"):
        packs.read(tmp_path)


@pytest.mark.parametrize("place", ["insightface/models/buffalo_l", "models/buffalo_l", "buffalo_l"])
def test_a_weights_folder_may_hold_a_pack_in_three_places(tmp_path: Path, place: str) -> None:
    home = pack(tmp_path / place)
    assert packs.in_folder("buffalo_l", tmp_path) == home
    assert packs.in_folder("antelopev2", tmp_path) is None


def test_a_folder_of_ones_own_is_a_pack(tmp_path: Path) -> None:
    home = pack(tmp_path / "models" / "My faces", detects="own_detector", embeds="own_embedder")
    assert packs.in_folder("My faces", tmp_path) == home
    assert packs.in_folder("my-faces", tmp_path) == home  # as the folder in the model repository is named


def test_a_folder_without_onnx_files_is_no_pack(tmp_path: Path) -> None:
    (tmp_path / "buffalo_l").mkdir()
    (tmp_path / "buffalo_l" / "readme.txt").write_text("empty")
    assert packs.in_folder("buffalo_l", tmp_path) is None


def test_the_digest_of_a_pack_follows_its_files(tmp_path: Path) -> None:
    home = pack(tmp_path / "buffalo_l")
    before = packs.pack_digest(home)
    (home / "license.txt").write_text("read me")
    assert packs.pack_digest(home) == before
    embedder(home / "w600k_r50.onnx", dim=256)
    assert packs.pack_digest(home) != before


# ---------------------------------------------------------------- downloads, from a server in this process
def server_of(archives: dict[str, bytes], asked: list[str]) -> Downloader:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        content = archives.get(str(request.url))
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    return Downloader(httpx.MockTransport(answer))


def archive_of(tmp_path: Path, name: str, *, inside: str = "", **files: str | None) -> bytes:
    return zipped(pack(tmp_path / "made" / name, **files), tmp_path / "made" / f"{name}.zip", inside=inside).read_bytes()


def test_an_archive_with_its_files_at_the_top_becomes_a_pack(tmp_path: Path) -> None:
    url, asked = f"{packs.RELEASES[0]}/buffalo_s.zip", list[str]()
    home = packs.official("buffalo_s", tmp_path, server_of({url: archive_of(tmp_path, "buffalo_s", detects="own", embeds="own_too")}, asked))
    assert asked == [url]
    assert home == tmp_path / "insightface" / "models" / "buffalo_s"
    assert packs.detector(packs.read(home)).name == "own.onnx"
    assert [path.name for path in home.parent.iterdir()] == ["buffalo_s"]  # neither the archive nor anything half done


def test_an_archive_with_a_folder_inside_becomes_the_same_pack(tmp_path: Path) -> None:
    """antelopev2's: insightface itself unpacks it to antelopev2/antelopev2 and does not find its files."""
    content = archive_of(tmp_path, "mine", inside="antelopev2/", detects="own", embeds="own_too")
    home = packs.official("mine", tmp_path, server_of({f"{packs.RELEASES[0]}/mine.zip": content}, []))
    assert sorted(path.name for path in home.iterdir()) == ["1k3d68.onnx", "2d106det.onnx", "genderage.onnx", "own.onnx", "own_too.onnx"]


def test_a_pack_in_the_cache_is_not_fetched_again(tmp_path: Path) -> None:
    home, asked = pack(tmp_path / packs.HOME / "buffalo_s", detects="own", embeds="own_too"), list[str]()
    assert packs.official("buffalo_s", tmp_path, server_of({}, asked)) == home
    assert asked == []


def test_a_release_that_lacks_the_pack_is_followed_by_the_next(tmp_path: Path) -> None:
    content, asked = archive_of(tmp_path, "buffalo_s", detects="own", embeds="own_too"), list[str]()
    packs.official("buffalo_s", tmp_path, server_of({f"{packs.RELEASES[1]}/buffalo_s.zip": content}, asked))
    assert asked == [f"{release}/buffalo_s.zip" for release in packs.RELEASES]


def test_a_pack_that_no_release_has_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"404 for .*buffalo_xxl\.zip"):
        packs.official("buffalo_xxl", tmp_path, server_of({}, []))


def test_the_original_library_takes_its_packs_from_one_of_our_releases() -> None:
    from insightface.utils import storage  # noqa: PLC0415  # its import takes seconds

    assert storage.BASE_REPO_URL in packs.RELEASES


@pytest.mark.parametrize("name", [name for name in PACKS if name != "buffalo_s"])
def test_an_archive_that_is_not_the_official_one_is_refused(tmp_path: Path, name: str) -> None:
    content = archive_of(tmp_path, name)
    with pytest.raises(ConfigError, match=f"expected {packs.ZIP_PINS[name][0][:16]}"):
        packs.official(name, tmp_path, server_of({f"{packs.RELEASES[0]}/{name}.zip": content}, []))


@pytest.mark.parametrize(("detects", "embeds"), [("det_10g", "own"), ("scrfd_10g_bnkps", "own"), ("own", "glintr100"), ("own", "w600k_mbf")])
def test_a_file_that_is_not_the_official_one_is_refused(tmp_path: Path, detects: str, embeds: str) -> None:
    content = archive_of(tmp_path, "mine", detects=detects, embeds=embeds)
    with pytest.raises(ConfigError, match=rf"({detects}|{embeds})\.onnx is not the official file; delete"):
        packs.official("mine", tmp_path, server_of({f"{packs.RELEASES[0]}/mine.zip": content}, []))


def test_the_pins_are_those_of_the_files_at_hand(face_weights: Path) -> None:
    at_hand = {path.name: path for path in (face_weights / packs.HOME).glob("*/*.onnx")}
    compared = [name for name in packs.FILE_PINS if name in at_hand]
    assert compared
    assert all(hashlib.sha256(at_hand[name].read_bytes()).hexdigest() == packs.FILE_PINS[name] for name in compared)


@pytest.mark.parametrize(("content", "said"), [(b"no zip", "is no zip archive"), (None, "holds no ONNX file")])
def test_an_archive_that_is_none_leaves_nothing_behind(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is None:
        (tmp_path / "empty").mkdir()
        content = zipped(tmp_path / "empty", tmp_path / "made.zip").read_bytes()
    cache = tmp_path / "cache"
    with pytest.raises(ConfigError, match=said):
        packs.official("mine", cache, server_of({f"{packs.RELEASES[0]}/mine.zip": content}, []))
    assert [path.name for path in (cache / packs.HOME).iterdir()] == ["mine.zip"]


def test_no_name_in_an_archive_leads_out_of_the_folder(tmp_path: Path) -> None:
    made = pack(tmp_path / "made", detects="own", embeds="own_too")
    content = zipped(made, tmp_path / "made.zip", inside="../../../").read_bytes()
    home = packs.official("mine", tmp_path / "cache", server_of({f"{packs.RELEASES[0]}/mine.zip": content}, []))
    assert len(list(home.iterdir())) == 5
    assert not list(tmp_path.glob("*.onnx"))
