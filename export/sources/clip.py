"""CLIP of open_clip: one checkpoint, two towers; a tower of the hub brings its tokenizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from export.download import Downloader, NotThere, Unreachable, how_to_bring
from export.quiet import quiet
from export.wanted import Original, Wanted
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings
from kizu_fast.specs import RANDOM, Family, clip_name

HAS_RANDOM: bool = True
SHAPING: tuple[str, ...] = ("clip.py", "tokens.py", "tensors.py")
TOWERS = {"image": Family.CLIP_IMAGE, "text": Family.CLIP_TEXT}
CHECKPOINTS = (".pt", ".safetensors", ".bin", ".pth")
HUB = "https://huggingface.co"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")
LICENCES: Mapping[str, str] = {"openai": "MIT", "laion": "MIT"}
# The default model's place, so that an unreachable network is known before open_clip is imported.
_OPENAI = "https://openaipublic.azureedge.net/clip/models/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt"


def towers(model: str, tag: str, *, random: bool = False) -> list[Wanted]:
    """Both towers of one open_clip model. The tag RANDOM asks for untrained weights."""
    random = random or tag == RANDOM
    original = Original("clip", model, "" if random else tag, random)
    return [Wanted(clip_name(model, RANDOM if random else tag, tower), family, original) for tower, family in TOWERS.items()]


def standard(settings: Settings) -> list[Wanted]:
    """The model that CLIP_MODEL and CLIP_PRETRAINED name."""
    return towers(settings.clip_model, settings.clip_pretrained)


def asked(_settings: Settings) -> bool:
    """Always: a search embeds its question."""
    return True


def named(word: str, settings: Settings) -> list[Wanted]:
    """open_clip's MODEL/TAG, or a folder's name such as clip-vit-b-32-openai-image."""
    if "/" in word:
        model, _, tag = word.partition("/")
        return towers(model, tag)
    if not word.startswith("clip-"):
        return []
    own = standard(settings)
    return [tower for tower in (*own, *map(untrained, own)) if tower.name == word][:1] or _by_folder(word)


def _by_folder(word: str) -> list[Wanted]:
    """Look a folder's name up among all models of open_clip: slow, since it imports the library."""
    with quiet():
        import open_clip  # noqa: PLC0415  # takes seconds
    pairs = [*open_clip.list_pretrained(), *((model, RANDOM) for model in open_clip.list_models())]
    return [tower for model, tag in pairs for tower in towers(model, tag) if tower.name == word][:1]


def untrained(wanted: Wanted) -> Wanted:
    """The same tower with random weights."""
    return next(tower for tower in towers(wanted.original.model, RANDOM) if tower.family == wanted.family)


def candidates(original: Original) -> list[str]:
    """MODEL_TAG with the suffixes of checkpoints."""
    return [f"open_clip/{original.model}_{original.tag}{suffix}" for suffix in CHECKPOINTS]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The checkpoint of that model and tag."""
    return next((folder / name for name in candidates(original) if (folder / name).is_file()), None)


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From the publisher that open_clip names. Raises Unreachable, ConfigError for an unknown tag."""
    return in_folder(original, cache) or _download(original, cache, downloader)


def _download(original: Original, cache: Path, downloader: Downloader) -> Path:
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


def _digests_in(url: str) -> Sequence[str]:
    """Two publishers write the sha256, or its beginning, into the address."""
    if "openaipublic" in url:
        return [url.split("/")[-2]]
    return [Path(url).stem.rpartition("-")[2]] if "mlfoundations" in url else []


def licence(original: Original) -> str:
    """By publisher."""
    return LICENCES.get("laion" if original.tag.startswith("laion") else original.tag, "see the model's card")


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
