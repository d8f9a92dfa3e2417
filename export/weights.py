"""Where trained weights come from: the official places, a folder, or nowhere (seeded random)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export import packs
from export.download import Downloader, NotThere, Unreachable
from export.manifest import digest
from export.quiet import quiet
from export.wanted import Original
from kizu_fast.errors import ConfigError

OFFICIAL, RANDOM, FOLDER = "official", "random", "folder"
CHECKPOINTS = (".pt", ".safetensors", ".bin", ".pth")
YOLO_RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
HUB = "https://huggingface.co"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")

# sha256 of the official files, as far as they are known. yolov8m.pt: two are in use, which release has which is not known.
PINS: Mapping[str, Sequence[str]] = {
    "yolov8n.pt": ("f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",),
    "yolov8m.pt": (
        "6c25b0b63b1a433843f06d821a9ac1deb8d5805f74f0f38772c7308c5adc55a5",
        "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5",
    ),
}
# The default model's place, so that an unreachable network is known before open_clip is imported.
_OPENAI = "https://openaipublic.azureedge.net/clip/models/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt"
LICENCES: Mapping[str, str] = {"yolo": "AGPL-3.0", "openai": "MIT", "laion": "MIT"}


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint, or none (path and sha256 None) for seeded random."""

    path: Path | None
    source: str  # official | folder | random
    sha256: str | None
    licence: str


@dataclass(frozen=True, slots=True)
class Extras:
    """Where a family may look for files beside its weights, such as a tokenizer of the hub."""

    source: str | Path
    cache: Path
    downloader: Downloader


def find(original: Original, source: str | Path, cache: Path, downloader: Downloader) -> Weights:
    """The weights of one original. Raises ConfigError, with the way to bring them, when they are not to be had."""
    if original.random and original.family == "face":
        raise ConfigError(
            f"{original}: packs of InsightFace are ONNX files, there are no random weights for them; run: python -m export --models face"
        )
    if original.random:
        return Weights(None, RANDOM, None, "none: untrained")
    if isinstance(source, Path):
        path = in_folder(original, source)
        return Weights(path, FOLDER, digest_of(path), licence(original))
    if original.family == "face":
        path = _official_pack(original.model, cache, downloader)
        return Weights(path, OFFICIAL, digest_of(path), licence(original))
    path = cached(original, cache) or _download(original, cache, downloader)
    found = digest(path)
    pins = PINS.get(path.name)
    if pins and found not in pins:
        raise ConfigError(f"{path} has sha256 {found[:16]}..., which is not the official file; delete it, or export it by --weights {path.parent}")
    return Weights(path, OFFICIAL, found, licence(original))


def digest_of(path: Path) -> str:
    """sha256 of a checkpoint, or of a pack's folder."""
    return packs.pack_digest(path) if path.is_dir() else digest(path)


def licence(original: Original) -> str:
    """What users have to be told."""
    if original.family == "face":
        return packs.LICENCE
    key = "yolo" if original.family == "yolo" else original.tag[:5] if original.tag.startswith("laion") else original.tag
    return LICENCES.get(key, "see the model's card")


def candidates(original: Original) -> list[str]:
    """The file's possible names below a weights folder."""
    if original.family == "yolo":
        return [f"{original.model}.pt"]
    return [f"open_clip/{original.model}_{original.tag}{suffix}" for suffix in CHECKPOINTS]


def in_folder(original: Original, folder: Path) -> Path:
    """The file of one original in a weights folder. Raises ConfigError that lists what was looked for."""
    if not folder.is_dir():
        raise ConfigError(f"--weights {folder} is no folder")
    if original.family == "face":
        pack = packs.in_folder(original.model, folder)
        if pack is None:
            places = ", ".join(f"{place}/*.onnx" for place in packs.candidates(original.model))
            raise ConfigError(f"{original}: {folder} holds none of {places}; another pack is chosen by FACE_MODEL_NAME")
        return pack
    for name in candidates(original):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{original}: {folder} holds none of {', '.join(candidates(original))}")


def cached(original: Original, cache: Path) -> Path | None:
    """The downloaded file, if it is there."""
    return next((cache / name for name in candidates(original) if (cache / name).is_file()), None)


def _download(original: Original, cache: Path, downloader: Downloader) -> Path:
    try:
        return _download_yolo(original, cache, downloader) if original.family == "yolo" else _download_clip(original, cache, downloader)
    except Unreachable as error:
        raise ConfigError(f"{original} could not be downloaded from {error}; {how_to_bring(candidates(original)[0])}") from error


def _official_pack(pack: str, cache: Path, downloader: Downloader) -> Path:
    try:
        return packs.official(pack, cache, downloader)
    except Unreachable as error:
        place = f"DIR/{packs.candidates(pack)[0]}"
        raise ConfigError(
            f"{pack} could not be downloaded from {error}; put its files into {place} and run: python -m export --weights DIR"
        ) from error


def how_to_bring(relative: str) -> str:
    """The two ways on without a network."""
    return f"put the file at DIR/{relative} and run: python -m export --weights DIR; to try the pipeline without meaning: python -m export --weights random"


def _download_yolo(original: Original, cache: Path, downloader: Downloader) -> Path:
    name = candidates(original)[0]
    return downloader.fetch(f"{YOLO_RELEASE}/{name}", cache / name, PINS.get(name, ()))


def _download_clip(original: Original, cache: Path, downloader: Downloader) -> Path:
    url, hub = (_OPENAI, "") if str(original) == "ViT-B-32/openai" else _place(original)
    target = cache / f"open_clip/{original.model}_{original.tag}"
    if url:
        return downloader.fetch(url, target.with_name(target.name + Path(url).suffix), _digests_in(url))
    repository, _, file = hub.rpartition("/")
    for name in (file,) if file else HUB_FILES:
        try:
            return downloader.fetch(f"{HUB}/{repository}/resolve/main/{name}", target.with_name(target.name + Path(name).suffix))
        except NotThere as error:
            missing = error
    raise missing


def _place(original: Original) -> tuple[str, str]:
    """(url, hub repository) of a pretrained tag, as open_clip states them. Raises ConfigError for an unknown tag."""
    with quiet():
        import open_clip  # noqa: PLC0415  # takes seconds
    place = open_clip.pretrained.get_pretrained_cfg(original.model, original.tag)
    if not place:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(original.model)) or "none: see open_clip.list_pretrained()"
        raise ConfigError(f"open_clip has no weights {original}; CLIP_PRETRAINED for {original.model} is one of: {known}")
    return str(place.get("url") or ""), str(place.get("hf_hub") or "")


def _digests_in(url: str) -> list[str]:
    """Two publishers write the sha256, or its beginning, into the address."""
    if "openaipublic" in url:
        return [url.split("/")[-2]]
    return [Path(url).stem.rpartition("-")[2]] if "mlfoundations" in url else []


def tokenizer_folder(hub_name: str, source: str | Path, cache: Path, downloader: Downloader) -> Path:
    """The folder with a text tower's tokenizer files: of the weights folder, of the cache, or from the hub. Raises ConfigError."""
    relative = f"open_clip/tokenizers/{hub_name.replace('/', '--')}"
    for home in ([source] if isinstance(source, Path) else []) + [cache]:
        if (home / relative / TOKENIZER_FILES[0]).is_file():
            return home / relative
    try:
        for name in reversed(TOKENIZER_FILES):  # tokenizer.json last: it says that the folder is whole
            _optional(f"{HUB}/{hub_name}/resolve/main/{name}", cache / relative / name, downloader, needed=name == TOKENIZER_FILES[0])
    except Unreachable as error:
        raise ConfigError(
            f"the tokenizer {hub_name} could not be downloaded from {error}; {how_to_bring(f'{relative}/{TOKENIZER_FILES[0]}')}"
        ) from error
    return cache / relative


def _optional(url: str, target: Path, downloader: Downloader, *, needed: bool) -> None:
    try:
        downloader.fetch(url, target)
    except NotThere:
        if needed:
            raise
