"""Downloads against a server that breaks off, lies, or is not there."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from export import weights
from export.download import Downloader, NotThere, Unreachable
from export.sources import clip
from export.wanted import Original
from kizu_fast.errors import ConfigError

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URL = "https://files.example/yolov8n.pt"
Handler = Callable[[httpx.Request], httpx.Response]


class Broken(httpx.SyncByteStream):
    """Half of what was promised, then the line is cut."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield self._content[: len(self._content) // 2]
        raise httpx.ReadError("the line was cut")


def with_server(handler: Handler) -> Downloader:
    return Downloader(httpx.MockTransport(handler))


def whole(request: httpx.Request) -> httpx.Response:
    """A good server: knows ranges."""
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
    if start >= len(CONTENT):
        return httpx.Response(416)
    return httpx.Response(206 if start else 200, content=CONTENT[start:])


def test_a_file_is_brought_and_checked(tmp_path: Path) -> None:
    path = with_server(whole).fetch(URL, tmp_path / "deep" / "x.pt", [DIGEST])
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(CONTENT[:300_000])
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range", ""))
        return whole(request)

    assert with_server(server).fetch(URL, tmp_path / "x.pt", [DIGEST]).read_bytes() == CONTENT
    assert asked == ["bytes=300000-"]


def test_a_line_that_is_cut_is_resumed_by_itself(tmp_path: Path) -> None:
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range", ""))
        if len(asked) == 1:
            return httpx.Response(200, headers={"content-length": str(len(CONTENT))}, stream=Broken(CONTENT))
        return whole(request)

    assert with_server(server).fetch(URL, tmp_path / "x.pt", [DIGEST]).read_bytes() == CONTENT
    assert asked == ["", f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_over(tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(b"something else")
    path = with_server(lambda _: httpx.Response(200, content=CONTENT)).fetch(URL, tmp_path / "x.pt", [DIGEST])
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_complete_already_is_only_checked(tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(CONTENT)
    assert with_server(whole).fetch(URL, tmp_path / "x.pt", [DIGEST]).read_bytes() == CONTENT


def test_other_bytes_than_the_pinned_ones_are_thrown_away(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"brought sha256 .* expected 0{16}"):
        with_server(whole).fetch(URL, tmp_path / "x.pt", ["0" * 64])
    assert list(tmp_path.iterdir()) == []


def test_the_digest_that_a_store_states_is_checked_too(tmp_path: Path) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.example":
            return httpx.Response(302, headers={"location": "https://store.example/blob", "x-linked-etag": f'"{"1" * 64}"'})
        return whole(request)

    with pytest.raises(ConfigError, match="expected 1111111111111111"):
        with_server(server).fetch(URL, tmp_path / "x.pt")


def test_a_missing_file_is_told_from_a_missing_network(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="files.example: 404"):
        with_server(lambda _: httpx.Response(404)).fetch(URL, tmp_path / "x.pt")
    with pytest.raises(Unreachable, match="503"):
        with_server(lambda _: httpx.Response(503)).fetch(URL, tmp_path / "x.pt")


def test_a_host_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectTimeout("timed out")

    downloader = with_server(server)
    for name in ("a", "b"):
        with pytest.raises(Unreachable, match=r"files.example: ConnectTimeout \(timed out\)"):
            downloader.fetch(f"https://files.example/{name}", tmp_path / name)
    assert asked == ["/a"]


def test_a_disk_without_room_names_the_setting(tmp_path: Path) -> None:
    server = with_server(lambda _: httpx.Response(200, headers={"content-length": str(10**15)}, stream=Broken(CONTENT)))
    with pytest.raises(ConfigError, match="MODEL_CACHE_DIR"):
        server.fetch(URL, tmp_path / "x.pt")


def test_official_weights_come_from_their_publisher_by_their_pin(tmp_path: Path) -> None:
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=b"not the official bytes")

    for original in (Original("yolo", "yolov8n"), Original("clip", "ViT-B-32", "openai")):
        with pytest.raises(ConfigError, match="expected"):
            weights.find(original, weights.OFFICIAL, tmp_path, with_server(server))
    assert asked[0] == "https://github.com/ultralytics/assets/releases/download/v8.4.0/yolov8n.pt"
    assert asked[1].startswith("https://openaipublic.azureedge.net/clip/models/40d36571")


def test_hub_weights_are_asked_for_as_safetensors_then_as_bin(tmp_path: Path) -> None:
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(404) if request.url.path.endswith(".safetensors") else httpx.Response(200, content=CONTENT)

    found = weights.find(Original("clip", "ViT-B-32", "laion2b_s34b_b79k"), weights.OFFICIAL, tmp_path, with_server(server))
    assert [url.rpartition("/")[2] for url in asked] == ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    assert all(url.startswith("https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/") for url in asked)
    assert found == weights.Weights(tmp_path / "open_clip" / "ViT-B-32_laion2b_s34b_b79k.bin", "official", DIGEST, "MIT")


def test_an_unknown_tag_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights ViT-B-32/mine; CLIP_PRETRAINED for ViT-B-32 is one of: openai, laion400m_e31"):
        weights.find(Original("clip", "ViT-B-32", "mine"), weights.OFFICIAL, tmp_path, with_server(whole))


def test_a_cached_official_file_with_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yolov8n.pt").write_bytes(b"my own training")
    with pytest.raises(ConfigError, match=r"yolov8n.pt has sha256 .* not the official file"):
        weights.find(Original("yolo", "yolov8n"), weights.OFFICIAL, tmp_path, with_server(whole))


def test_a_folder_s_own_training_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "yolov8n.pt").write_bytes(CONTENT)
    found = weights.find(Original("yolo", "yolov8n"), tmp_path, tmp_path / "cache", with_server(whole))
    assert (found.source, found.sha256, found.licence) == ("folder", DIGEST, "AGPL-3.0")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_a_clip_is_found_under_each_of_its_endings(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "open_clip").mkdir()
    (tmp_path / "open_clip" / f"ViT-L-14_openai{suffix}").write_bytes(b"x")
    assert weights.in_folder(Original("clip", "ViT-L-14", "openai"), tmp_path).suffix == suffix


def test_a_tokenizer_of_the_hub_is_brought_whole_or_the_way_to_bring_it_is_said(tmp_path: Path) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404) if "special_tokens" in request.url.path else httpx.Response(200, content=b"{}")

    folder = clip.tokenizer_folder("a/b", weights.OFFICIAL, tmp_path, with_server(server))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "tokenizer.json", "tokenizer_config.json"]
    with pytest.raises(ConfigError, match=r"tokenizer c/d could not be downloaded .*DIR/open_clip/tokenizers/c--d/tokenizer.json"):
        clip.tokenizer_folder("c/d", weights.OFFICIAL, tmp_path, with_server(lambda _: httpx.Response(404)))
