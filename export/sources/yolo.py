"""YOLOv8 of ultralytics: one checkpoint a size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from export.download import Downloader, pinned
from export.wanted import Original, Wanted
from kizu_fast.settings import Settings
from kizu_fast.specs import Family, yolo_name

HAS_RANDOM: bool = True
SHAPING: tuple[str, ...] = ("yolo.py", "tensors.py")
SIZES = ("n", "s", "m", "l", "x")
RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
# sha256 of the official files, as far as they are known. yolov8m.pt: two are in use, which release has which is not known.
PINS: Mapping[str, Sequence[str]] = {
    "yolov8n.pt": ("f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",),
    "yolov8m.pt": (
        "6c25b0b63b1a433843f06d821a9ac1deb8d5805f74f0f38772c7308c5adc55a5",
        "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5",
    ),
}


def detector(size: str, *, random: bool = False) -> Wanted:
    """One YOLOv8."""
    return Wanted(yolo_name(size, random=random), Family.YOLO, Original("yolo", f"yolov8{size}", random=random))


def standard(settings: Settings) -> list[Wanted]:
    """The size that YOLO_SIZE names."""
    return [detector(settings.yolo_size)]


def asked(_settings: Settings) -> bool:
    """Always: objects are a part of every search."""
    return True


def named(word: str, _settings: Settings) -> list[Wanted]:
    """yolov8n to yolov8x, with -random behind it for untrained weights."""
    return [model for size in SIZES for model in (detector(size), detector(size, random=True)) if model.name == word]


def untrained(wanted: Wanted) -> Wanted:
    """The same size with random weights."""
    return detector(wanted.original.model.removeprefix("yolov8"), random=True)


def candidates(original: Original) -> list[str]:
    """The file as ultralytics names it."""
    return [f"{original.model}.pt"]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The checkpoint of that size."""
    path = folder / candidates(original)[0]
    return path if path.is_file() else None


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From ultralytics' release. Raises Unreachable, ConfigError."""
    name = candidates(original)[0]
    pins = PINS.get(name, ())
    return pinned(in_folder(original, cache) or downloader.fetch(f"{RELEASE}/{name}", cache / name, pins), pins)


def licence(_original: Original) -> str:
    """Code and weights alike."""
    return "AGPL-3.0"
