"""Both towers of any open_clip model, with normalisation of pixels and vectors in the graph."""

import gc
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from export import graph, parity, tokens
from export.install import Built
from export.sources.clip import tokenizer_folder
from export.tensors import tensor_difference, tensors_digest
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.models import clip as image_model
from kizu_fast.models import clip_text as text_model
from kizu_fast.specs import Family, ModelSpec

PARITY_PICTURES = 12
ARCHITECTURES = Path(__file__).parent / "architectures"
Inputs = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Clip:
    """A loaded open_clip model and what its towers need around them."""

    model: Any  # torch.nn.Module
    original: Original
    config: dict[str, Any]  # open_clip's: embed_dim, text_cfg, ...
    side: int
    steps: str  # key of models.clip.STEPS
    sha256: str  # of the weights; of the tensors where there is no file

    @property
    def space(self) -> str:
        """The name of the vector space: vectors with other weights or other preprocessing never meet."""
        return f"open_clip/{self.original}/{self.steps}/{self.sha256[:8]}"


def load(original: Original, weights: Weights) -> Clip:
    """Build the architecture and fill it. Raises ConfigError for an unknown model, one that the run time cannot serve, or unfitting weights."""
    config = open_clip.get_model_config(original.model)
    if config is None:
        raise ConfigError(f"open_clip knows no model {original.model!r}; CLIP_MODEL is one of open_clip.list_models(), e.g. ViT-B-32")
    tag = open_clip.pretrained.get_pretrained_cfg(original.model, original.tag)
    torch.manual_seed(0)
    model = open_clip.create_model(
        original.model,
        load_weights=False,
        force_quick_gelu=bool(tag.get("quick_gelu")) or bool(config.get("quick_gelu")),
        force_preprocess_cfg=tag,
        pretrained_text=False,
        **_local_text_tower(config),
    )
    if weights.path:
        _fill(model, weights.path, original)
    model.eval().requires_grad_(requires_grad=False)
    cfg = PreprocessCfg(**model.visual.preprocess_cfg)
    return Clip(model, original, config, _side(cfg.size, original), _steps(cfg, original), weights.sha256 or tensors_digest(model))


def _local_text_tower(config: dict[str, Any]) -> dict[str, Any]:
    """Towers from the hub read their architecture there; those that are committed here need no hub."""
    hub = config["text_cfg"].get("hf_model_name")
    if not hub:
        return {}
    folder = Path(hub) if Path(hub).is_dir() else ARCHITECTURES / hub.replace("/", "--")
    if not folder.exists():
        raise ConfigError(f"the text tower {hub} has no architecture in {ARCHITECTURES}; put its config.json into {folder}")
    return {"text_cfg": {**config["text_cfg"], "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _fill(model: Any, path: Path, original: Original) -> None:
    scripted = zipfile.is_zipfile(path) and any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(path).namelist())
    try:
        # a TorchScript archive runs no pickled code; it also holds the buffers that the model makes by itself
        odd = open_clip.load_checkpoint(model, str(path), strict=not scripted, weights_only=not scripted)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(
            f"{path} does not fit {original.model}: {_mismatch(model, path, scripted=scripted) or str(error).splitlines()[0]}"
        ) from error
    except (pickle.UnpicklingError, EOFError, OSError) as error:
        raise ConfigError(f"{path} is no checkpoint: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error
    if scripted and (odd.missing_keys or set(odd.unexpected_keys) - {name for name, _ in model.named_buffers()}):
        raise ConfigError(f"{path} does not fit {original.model}: {_mismatch(model, path, scripted=True)}")


def _mismatch(model: Any, path: Path, *, scripted: bool) -> str | None:
    """Expected and found tensors in one line, None when the file cannot be read at all."""
    try:
        found = {name: list(value.shape) for name, value in open_clip.factory.load_state_dict(str(path), weights_only=not scripted).items()}
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, StopIteration, pickle.UnpicklingError, EOFError, OSError):
        return None
    return tensor_difference({name: list(value.shape) for name, value in model.state_dict().items()}, found)


def _side(size: Any, original: Original) -> int:
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ConfigError(f"{original.model} takes pictures of {size}, only square inputs are served; choose another CLIP_MODEL")
    return int(sides.pop())


def _steps(cfg: PreprocessCfg, original: Original) -> str:
    for name, steps in image_model.STEPS.items():
        if steps == (cfg.resize_mode, cfg.interpolation) and (cfg.resize_mode != "longest" or cfg.fill_color == 0):
            return name
    raise ConfigError(f"{original.model} asks for resize {cfg.resize_mode} with {cfg.interpolation} on {cfg.fill_color}, which is not served")


class ImageTower(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """uint8 NHWC to unit vectors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        mean, std = (torch.tensor(model.visual.preprocess_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, pixels: Any) -> Any:
        """(B, side, side, 3) uint8 to (B, dim)."""
        return self.model.encode_image(pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift, normalize=True)


class TextTower(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """int32 token ids to unit vectors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Any) -> Any:
        """(B, context) int32 to (B, dim)."""
        return self.model.encode_text(tokens.long(), normalize=True)


def build(clip: Clip, wanted: Wanted, folder: Path, extras: Extras) -> Built:
    """Write one tower below folder, the text tower with its tokenizer. Raises ConfigError when parity fails or the tokenizer is not to be had."""
    if wanted.family is Family.CLIP_IMAGE:
        spec, facts = build_image(clip, wanted, folder)
    else:
        spec, facts = build_text(clip, wanted, folder, _tokenizer(clip, extras))
    return Built(spec, facts, clip.sha256)


def _tokenizer(clip: Clip, extras: Extras) -> Any:
    """open_clip's tokenizer of a text tower; one of the hub is read from files, never by the library itself."""
    text_cfg = clip.config["text_cfg"]
    hub = text_cfg.get("hf_tokenizer_name")
    if not hub:
        return open_clip.get_tokenizer(clip.original.model)
    folder = tokenizer_folder(hub, extras.source, extras.cache, extras.downloader)
    context = text_cfg.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    return open_clip.tokenizer.HFTokenizer(str(folder), context_length=context, **(text_cfg.get("tokenizer_kwargs") or {}))


def build_image(clip: Clip, wanted: Wanted, folder: Path) -> tuple[ModelSpec, dict[str, Any]]:
    """Write the image tower below folder. Returns its spec and what the manifest says of it. Raises ConfigError when parity fails."""
    spec = specs.clip_image(wanted.name, side=clip.side, dim=int(clip.config["embed_dim"]), space=clip.space, preprocessing=clip.steps)
    path = folder / "1" / "model.onnx"
    example = torch.zeros(2, clip.side, clip.side, 3, dtype=torch.uint8)
    _export(ImageTower(clip.model).eval(), example, spec, path)
    facts = graph.check(path, spec)
    photos = parity.pictures(PARITY_PICTURES)
    transform = image_transform_v2(PreprocessCfg(**clip.model.visual.preprocess_cfg), is_train=False)
    theirs = torch.cat([clip.model.encode_image(transform(Image.fromarray(photo.pixels))[None], normalize=True) for photo in photos]).numpy()
    rows = [image_model.preprocess(photo, clip.side, clip.steps) for photo in photos]
    figures = _vector_parity(path, spec, rows, theirs, image_model.postprocess)
    parity.demand(wanted.name, figures)
    return spec, {**facts, "parity": figures}


def build_text(clip: Clip, wanted: Wanted, folder: Path, tokenizer: Any) -> tuple[ModelSpec, dict[str, Any]]:
    """Write the text tower and its tokenizer.json below folder. tokenizer is open_clip's own. Raises ConfigError when parity fails."""
    context, steps = int(tokenizer.context_length), tokens.steps_of(clip.config["text_cfg"], clip.original.model)
    spec = specs.clip_text(wanted.name, context=context, dim=int(clip.config["embed_dim"]), space=clip.space, preprocessing=steps)
    path, rules = folder / "1" / "model.onnx", folder / "tokenizer.json"
    tokens.write(tokenizer, rules)
    wrong = tokens.unequal(tokenizer, rules, steps, parity.TEXTS)
    if wrong:
        raise ConfigError(f"{wanted.name}: parity with the original failed, token ids differ for {wrong[0]!r}; nothing was installed")
    _export(TextTower(clip.model).eval(), torch.from_numpy(tokenizer(["a", "b"]).numpy().astype(np.int32)), spec, path)
    facts = graph.check(path, spec)
    theirs = clip.model.encode_text(tokenizer(list(parity.TEXTS)), normalize=True).numpy()
    ours = text_model.load_tokenizer(rules, context, steps)
    figures = _vector_parity(path, spec, [ours(text) for text in parity.TEXTS], theirs, image_model.postprocess)
    parity.demand(wanted.name, figures)
    return spec, {**facts, "parity": {**figures, "texts_with_equal_token_ids": len(parity.TEXTS)}}


def _export(tower: Any, example: Any, spec: ModelSpec, path: Path) -> None:
    """By the dynamo exporter; a batch of 1 as example would be baked in without a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(value.numel() * value.element_size() for value in tower.state_dict().values()) > graph.ONE_FILE_BYTES
    torch.onnx.export(
        tower,
        (example,),
        str(path),
        dynamo=True,
        opset_version=graph.OPSET,
        input_names=[spec.inputs[0].name],
        output_names=[spec.outputs[0].name],
        dynamic_shapes=({0: torch.export.Dim(graph.BATCH)},),
        external_data=large,
        verbose=False,
    )
    gc.collect()
    graph.declare(path, spec)


def _vector_parity(
    path: Path, spec: ModelSpec, rows: list[NDArray[Any]], theirs: NDArray[np.floating], finish: Callable[[Any], NDArray[np.float32]]
) -> dict[str, Any]:
    """Cosines at batches of 3 and 1, through the same postprocess as at run time."""
    session = graph.Session(path)
    name, output = spec.inputs[0].name, spec.outputs[0].name
    by_batch = {}
    for size in parity.BATCHES:
        stacked = [spec.stack([{name: row} for row in rows[i : i + size]]) for i in range(0, len(rows), size)]
        by_batch[size] = np.stack([finish(vector) for batch in stacked for vector in session.run(batch)[output]])
    figures: dict[str, Any] = parity.compare_vectors(by_batch[parity.BATCHES[-1]], theirs)
    figures["single_cosine_min"] = parity.compare_vectors(by_batch[1], theirs)["cosine_min"]
    figures["batch_difference"] = float(np.abs(by_batch[1] - by_batch[parity.BATCHES[-1]]).max())
    return {**figures, "rows": len(rows), "batches": list(parity.BATCHES)}
