"""InsightFace packs: folders of ONNX files. Which file detects, which embeds, and where a pack comes from."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from export.digests import digest
from export.download import Downloader
from kizu_fast.errors import ConfigError
from kizu_fast.specs import FACE_CROP, face_names

RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7"
HOME = "insightface/models"
LICENCE = "non-commercial research (InsightFace)"
MAX_FILE_BYTES = 1_000_000_000  # of one file in a pack: the largest known has 261 MB
ZIP_PINS: Mapping[str, Sequence[str]] = {"buffalo_l": ("80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",)}
FILE_PINS: Mapping[str, str] = {
    "det_10g.onnx": "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    "w600k_r50.onnx": "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    "w600k_mbf.onnx": "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
}
_HEADS = 9  # scores, boxes and landmarks of three strides


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack's folder and the files that we use; None: the pack has none."""

    folder: Path
    detector: Path | None
    embedder: Path | None


def candidates(pack: str) -> list[str]:
    """Where a pack may lie below a weights folder, named as given or as in the model repository."""
    return [f"{HOME}/{pack}", f"models/{pack}", pack]


def in_folder(pack: str, folder: Path) -> Path | None:
    """The pack's folder below a weights folder, None when no ONNX file is there."""
    for place in candidates(pack):
        home = (folder / place).parent
        for found in sorted(home.iterdir()) if home.is_dir() else ():
            if found.is_dir() and face_names(found.name) == face_names(pack) and any(found.glob("*.onnx")):
                return found
    return None


def pack_digest(folder: Path) -> str:
    """sha256 of the names and digests of a pack's ONNX files."""
    lines = [f"{path.name} {digest(path)}\n" for path in sorted(folder.glob("*.onnx"))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(folder: Path) -> Pack:
    """Tell the files by their shapes, the first of each kind by name, as insightface does. Raises ConfigError for a file that is no ONNX."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.onnx")):
        found.setdefault(_kind(path), path)
    return Pack(folder, found.get("detector"), found.get("embedder"))


def _kind(path: Path) -> str:
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ConfigError(f"{path} is no ONNX file: {error}") from error
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(model.graph.output) > 4:  # noqa: PLR2004  # no other kind has as many
        return "detector"
    shape = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] if inputs else []
    return "embedder" if len(inputs) == 1 and shape[2:] == [FACE_CROP, FACE_CROP] else "other"


def detector(pack: Pack) -> Path:
    """The detector's file. Raises ConfigError naming what is missing or does not fit."""
    if pack.detector is None:
        raise ConfigError(f"{pack.folder} holds no face detector (an SCRFD with nine outputs, such as det_10g.onnx); add its file to the folder")
    outputs = len(onnx.load(str(pack.detector), load_external_data=False).graph.output)
    if outputs != _HEADS:
        why = "finds no landmarks, and faces cannot be aligned without them" if outputs == 6 else f"has {outputs} outputs, {_HEADS} are known"  # noqa: PLR2004
        raise ConfigError(f"{pack.detector} {why}; take a pack such as buffalo_l")
    return pack.detector


def embedder(pack: Pack) -> Path:
    """The embedder's file. Raises ConfigError naming what is missing."""
    if pack.embedder is None:
        raise ConfigError(
            f"{pack.folder} holds no face embedder (an ONNX file with one input [N, 3, {FACE_CROP}, {FACE_CROP}], such as w600k_r50.onnx); "
            f"add its file to the folder, or take another pack by FACE_MODEL_NAME"
        )
    return pack.embedder


def official(pack: str, cache: Path, downloader: Downloader) -> Path:
    """The pack's folder in the cache, downloaded and unpacked at first use. Raises ConfigError or Unreachable."""
    folder = in_folder(pack, cache) or _unpack(downloader.fetch(f"{RELEASE}/{pack}.zip", cache / HOME / f"{pack}.zip", ZIP_PINS.get(pack, ())), pack)
    for path in folder.glob("*.onnx"):
        pin = FILE_PINS.get(path.name)
        if pin and digest(path) != pin:
            raise ConfigError(f"{path} is not the official file; delete {folder}, or export it by --weights {cache}")
    return folder


def _unpack(archive: Path, pack: str) -> Path:
    """The ONNX files of an archive, whatever folders it puts them in, into one folder beside it: whole or not at all."""
    target = archive.with_name(pack)
    part = Path(tempfile.mkdtemp(prefix=f".{pack}-", dir=archive.parent))
    try:
        with zipfile.ZipFile(archive) as stored:
            members = [member for member in stored.infolist() if member.filename.endswith(".onnx") and not member.is_dir()]
            for member in members:
                if member.file_size > MAX_FILE_BYTES:
                    raise ConfigError(
                        f"{archive}: {Path(member.filename).name} would be {member.file_size / 1e6:.0f} MB; that is no pack of InsightFace"
                    )
                with stored.open(member) as source, (part / Path(member.filename).name).open("wb") as copy:  # the name alone: no path leads out
                    shutil.copyfileobj(source, copy)
        if not members:
            raise ConfigError(f"{archive} holds no ONNX file; delete it and run the command again")
        part.chmod(0o755)
        part.rename(target)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{archive} is no zip archive; delete it and run the command again") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    archive.unlink()
    return target
