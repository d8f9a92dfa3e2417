"""EasyOCR: CRAFT and one recogniser for a set of languages, each a checkpoint of its own."""

import hashlib
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from export.download import Downloader
from export.wanted import Original, Wanted
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.models.easyocr_languages import RECOGNISERS, parse_languages, recogniser_for
from kizu_fast.settings import Settings
from kizu_fast.specs import Family, easyocr_names

HAS_RANDOM: bool = True
SHAPING: tuple[str, ...] = ("easyocr.py", "tensors.py", "sources/easyocr.py")
DETECTOR = "craft"
HOME = "easyocr"
RELEASES = "https://github.com/JaidedAI/EasyOCR/releases/download"
MAX_FILE_BYTES = 500_000_000  # of one checkpoint: the largest known has 215 MB


class Published(NamedTuple):
    """Where easyocr's own configuration (1.7.2) says that a checkpoint lies."""

    release: str
    archive: str  # a zip, with the file in it
    file: str
    md5: str


PUBLISHED: Mapping[str, Published] = {
    DETECTOR: Published("pre-v1.1.6", "craft_mlt_25k", "craft_mlt_25k.pth", "2f8227d2def4037cdb3b34389dcf9ec1"),
    "english_g2": Published("v1.3", "english_g2", "english_g2.pth", "5864788e1821be9e454ec108d61b887d"),
    "latin_g2": Published("v1.3", "latin_g2", "latin_g2.pth", "469869130aad1a34e8f9086f4262bc59"),
    "zh_sim_g2": Published("v1.3", "zh_sim_g2", "zh_sim_g2.pth", "b601ce7143293387d3ec4f41a66edc07"),
    "japanese_g2": Published("v1.3", "japanese_g2", "japanese_g2.pth", "bad5146990ccb1272cb0908440fbe15e"),
    "korean_g2": Published("v1.3", "korean_g2", "korean_g2.pth", "befecf7b1ca2fffb5af814a51443682d"),
    "telugu_g2": Published("v1.2", "telugu", "telugu.pth", "f7576012a3abe593950c47bfa1bd8ddc"),
    "kannada_g2": Published("v1.2", "kannada", "kannada.pth", "c240c97e4adb8773b53b3b3dec728627"),
    "cyrillic_g2": Published("v1.6.1", "cyrillic_g2", "cyrillic_g2.pth", "19f85f43d9128a89ac21b8d6a06973fe"),
    "zh_tra_g1": Published("pre-v1.1.6", "chinese", "chinese.pth", "dfba8e364cd98ed4fed7ad54d71e3965"),
    "thai_g1": Published("pre-v1.1.6", "thai", "thai.pth", "40a06b563a2b3d7897e2d19df20dc709"),
    "devanagari_g1": Published("pre-v1.1.6", "devanagari", "devanagari.pth", "db6b1f074fae3070f561675db908ac08"),
    "tamil_g1": Published("v1.1.7", "tamil", "tamil.pth", "4b93972fdacdcdabe6d57097025d4dc2"),
    "bengali_g1": Published("v1.1.8", "bengali", "bengali.pth", "cea9e897e2c0576b62cbb1554997ce1c"),
}


def pair(recogniser: str, *, random: bool = False) -> list[Wanted]:
    """CRAFT and one recogniser."""
    names = easyocr_names(recogniser, random=random)
    families = (Family.EASYOCR_DETECTOR, Family.EASYOCR_RECOGNISER)
    return [
        Wanted(name, family, Original("easyocr", model, random=random))
        for name, family, model in zip(names, families, (DETECTOR, recogniser), strict=True)
    ]


def standard(settings: Settings) -> list[Wanted]:
    """CRAFT and the recogniser that OCR_LANGUAGES needs. Raises ConfigError for languages that do not go together."""
    return pair(recogniser_for(parse_languages(settings.ocr_languages)))


def asked(settings: Settings) -> bool:
    """When ocr is among the operations and EasyOCR is to read."""
    return Operation.OCR in settings.operations and settings.ocr_model == "easyocr"


def named(word: str, _settings: Settings) -> list[Wanted]:
    """A folder's name, or a recogniser as EasyOCR names it, e.g. latin_g2. Raises ConfigError for a folder's name that is none."""
    everything = [wanted for name in RECOGNISERS for random in (False, True) for wanted in pair(name, random=random)]
    found = [wanted for wanted in everything if word == wanted.name or (word == wanted.original.model and not wanted.original.random)]
    if word.startswith("easyocr-") and not found:
        raise ConfigError(f"unknown model {word!r}: recognisers of EasyOCR are {', '.join(RECOGNISERS)}, named like {easyocr_names('latin_g2')[1]}")
    return found[:1]


def untrained(wanted: Wanted) -> Wanted:
    """The same architecture with random weights."""
    recogniser = next(iter(RECOGNISERS)) if wanted.original.model == DETECTOR else wanted.original.model
    return next(twin for twin in pair(recogniser, random=True) if twin.family == wanted.family)


def candidates(original: Original) -> list[str]:
    """The file as easyocr names it, in a folder of its own, in easyocr's own kind of folder, or bare."""
    file = PUBLISHED[original.model].file
    return [f"{HOME}/{file}", f"model/{file}", file]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The checkpoint."""
    return next((folder / name for name in candidates(original) if (folder / name).is_file()), None)


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From EasyOCR's release, unpacked, its md5 compared with the one that easyocr states. Raises Unreachable, ConfigError."""
    place = PUBLISHED[original.model]
    target = cache / HOME / place.file
    if not target.is_file():
        unpack(downloader.fetch(f"{RELEASES}/{place.release}/{place.archive}.zip", cache / HOME / f"{place.archive}.zip"), target)
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != place.md5:
        raise ConfigError(f"{target} has md5 {found[:16]}..., which is not the official file; delete it, or export it by --weights {cache}")
    return target


def unpack(archive: Path, target: Path) -> None:
    """The file of that name out of a zip archive, whole or not at all; the archive goes. Raises ConfigError when it does not hold it."""
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(archive) as stored:
            member = next((each for each in stored.infolist() if Path(each.filename).name == target.name), None)
            if member is None or member.file_size > MAX_FILE_BYTES:
                what = f"holds no {target.name}" if member is None else f"holds {member.file_size / 1e6:.0f} MB as {target.name}"
                raise ConfigError(f"{archive} {what}; delete it and run the command again")
            with stored.open(member) as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{archive} is no zip archive; delete it and run the command again") from error
    part.replace(target)
    archive.unlink()


def licence(_original: Original) -> str:
    """EasyOCR's, code and weights."""
    return "Apache-2.0"
