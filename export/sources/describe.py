"""Captioners: Florence-2-base in three levels of detail from one checkpoint, and the smaller ViT-GPT2."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.download import Downloader, NotThere
from export.wanted import Original, Wanted
from kizu_fast.domain import Operation
from kizu_fast.models.captioners import CAPTIONERS, caption_name
from kizu_fast.settings import Settings
from kizu_fast.specs import Family

HAS_RANDOM: bool = True
SHAPING: tuple[str, ...] = (
    "describe.py",
    "caption_florence.py",
    "caption_loop.py",
    "caption_vit_gpt2.py",
    "sources/describe.py",
    "streamed.py",
    "tensors.py",
)
HUB = "https://huggingface.co"
HOME = "describe"
CONFIG = "config.json"
OPTIONAL_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json", "generation_config.json",
                  "preprocessor_config.json")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An original on the hub. generation and picture hold where its own files say nothing."""

    kind: str  # florence-2 | vit-gpt2: who builds its graph
    hub: str
    revision: str  # of the hub; no commit of these two is known for sure, the sha256 in the manifest says which bytes it was
    licence: str
    lengths: Mapping[str, int]  # tokens of a caption, by detail
    tensors: tuple[str, ...]  # the file that holds them, any of these
    generation: Mapping[str, Any]
    picture: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """Its place below a weights folder."""
        return f"{HOME}/{self.hub.replace('/', '--')}"


CHECKPOINTS: Mapping[str, Checkpoint] = {
    "florence-2-base": Checkpoint(
        kind="florence-2",
        hub="florence-community/Florence-2-base",  # the same weights as microsoft's, which want to run code of their own
        revision="main",
        licence="MIT",
        lengths={"caption": 24, "detailed": 64, "more": 128},
        tensors=("model.safetensors", "pytorch_model.bin"),
        generation={"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "forced_bos_token_id": 0, "no_repeat_ngram_size": 3},
        picture={"size": {"height": 768, "width": 768}, "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    ),
    "vit-gpt2": Checkpoint(
        kind="vit-gpt2",
        hub="nlpconnect/vit-gpt2-image-captioning",
        revision="main",
        licence="Apache-2.0",
        lengths={"caption": 24},
        tensors=("model.safetensors", "pytorch_model.bin"),
        generation={"decoder_start_token_id": 50256, "eos_token_id": 50256, "pad_token_id": 50256},
        picture={"size": 224, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
    ),
}

# What Florence-2's own processor writes for <CAPTION>, <DETAILED_CAPTION> and <MORE_DETAILED_CAPTION>, and BART's ids of it with <s> and </s>.
PROMPTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "caption": ("What does the image describe?", (0, 2264, 473, 5, 2274, 6190, 116, 2)),
    "detailed": ("Describe in detail what is shown in the image.", (0, 47066, 21700, 11, 4617, 99, 16, 2343, 11, 5, 2274, 4, 2)),
    "more": ("Describe with a paragraph what is shown in the image.", (0, 47066, 21700, 19, 10, 17818, 99, 16, 2343, 11, 5, 2274, 4, 2)),
}


def captioner(model: str, detail: str, *, random: bool = False) -> Wanted:
    """One checkpoint at one level of detail. model and detail are DESCRIBE_MODEL and DESCRIBE_DETAIL."""
    return Wanted(caption_name(model, detail, random=random), Family.CAPTION, Original("describe", CAPTIONERS[model].stem, random=random))


def detail_of(name: str) -> str:
    """The level of detail in a model's name."""
    return next(
        detail
        for model, known in CAPTIONERS.items()
        for detail in known.details
        for r in (False, True)
        if caption_name(model, detail, random=r) == name
    )


def standard(settings: Settings) -> list[Wanted]:
    """The captioner that DESCRIBE_MODEL and DESCRIBE_DETAIL name."""
    return [captioner(settings.describe_model, settings.describe_detail)]


def asked(settings: Settings) -> bool:
    """Only when captions are among the operations: they cost more than all the others together."""
    return Operation.DESCRIBE in settings.operations


def named(word: str, _settings: Settings) -> list[Wanted]:
    """A folder's name such as florence-2-base-detailed, or vit-gpt2: the checkpoint's shortest captions."""
    every = [captioner(model, detail, random=r) for model, known in CAPTIONERS.items() for detail in known.details for r in (False, True)]
    if word in CAPTIONERS:
        return [captioner(word, CAPTIONERS[word].details[0])]
    return [wanted for wanted in every if wanted.name == word]


def untrained(wanted: Wanted) -> Wanted:
    """The same architecture with random weights."""
    model = next(model for model, known in CAPTIONERS.items() if known.stem == wanted.original.model)
    return captioner(model, detail_of(wanted.name), random=True)


def candidates(original: Original) -> list[str]:
    """The checkpoint's folder, files named as on the hub."""
    return [CHECKPOINTS[original.model].folder]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The folder that holds config.json and the tensors."""
    checkpoint = CHECKPOINTS[original.model]
    home = folder / checkpoint.folder
    whole = (home / CONFIG).is_file() and any((home / name).is_file() for name in checkpoint.tensors)
    return home if whole else None


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From the hub, files only: no code of a checkpoint is ever fetched or run. Raises Unreachable, ConfigError."""
    found = in_folder(original, cache)
    if found is not None:
        return found
    checkpoint = CHECKPOINTS[original.model]
    home, url = cache / checkpoint.folder, f"{HUB}/{checkpoint.hub}/resolve/{checkpoint.revision}"
    for name in OPTIONAL_FILES:
        _fetch((name,), url, home, downloader, needed=False)
    _fetch(checkpoint.tensors, url, home, downloader, needed=True)
    _fetch((CONFIG,), url, home, downloader, needed=True)  # last: it says that the folder is whole
    return home


def _fetch(names: tuple[str, ...], url: str, home: Path, downloader: Downloader, *, needed: bool) -> None:
    """The first of names that the hub has."""
    for name in names:
        try:
            downloader.fetch(f"{url}/{name}", home / name)
        except NotThere:
            if needed and name == names[-1]:
                raise
        else:
            return


def licence(original: Original) -> str:
    """Of the weights."""
    return CHECKPOINTS[original.model].licence
