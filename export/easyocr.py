"""EasyOCR: CRAFT and one recogniser, from easyocr's own classes; normalisation, thresholds' steps, languages and the choice per step are in the graphs."""

import importlib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from easyocr import config as original_config
from easyocr.craft import CRAFT
from easyocr.imgproc import normalizeMeanVariance
from numpy.typing import NDArray
from torch.nn import functional

from export import graph, parity
from export.install import Built
from export.tensors import tensor_difference, tensors_digest
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError
from kizu_fast.models import easyocr as reader
from kizu_fast.models.easyocr_languages import RECOGNISERS
from kizu_fast.specs import Family, ModelSpec

CHARACTERS = "characters.txt"
CRAFT_MODEL = "craft"
PARITY_PICTURES = 3
PARITY_SIZES = ((160, 160), (160, 320))  # small ones will do: every level is half of the one above it, whatever the size
PARITY_WIDTHS = (64, 256)
MAX_SCORE_DIFFERENCE = 1e-4  # of the score: untrained weights give every class about the same
MAX_FLIPS = 1e-3  # share of a map's pixels that may stand one step beside the original's: a value at the edge of a step
_MODULES = {"g1": ("easyocr.model.model", 512), "g2": ("easyocr.model.vgg_model", 256)}  # architecture and its width, as easyocr.Reader builds it


def load(original: Original, weights: Weights) -> Any:
    """CRAFT or a recogniser in eval mode; seeded random without weights. Raises ConfigError for a file that does not fit."""
    torch.manual_seed(0)
    model = CRAFT() if original.model == CRAFT_MODEL else _architecture(original.model)
    if weights.path is not None:
        state = _read(weights.path)
        shapes = ({name: list(value.shape) for name, value in each.items()} for each in (model.state_dict(), state))
        difference = tensor_difference(*shapes)
        if difference:
            raise ConfigError(f"{weights.path} does not fit {original.model}: {difference}")
        model.load_state_dict(state)
    return model.float().eval()


def _architecture(recogniser: str) -> Any:
    module, width = _MODULES[recogniser[-2:]]
    classes = len(characters(recogniser)) + 1
    return importlib.import_module(module).Model(input_channel=1, output_channel=width, hidden_size=width, num_class=classes)


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's tensors. It was written by a wrapper for many devices, which put `module.` before every name."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix("module."): value for name, value in state.items()}
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()
        raise ConfigError(f"{path} is no checkpoint of easyocr: {reason[0] if reason else type(error).__name__}") from error


def _stated(recogniser: str) -> Mapping[str, str]:
    models: Mapping[str, str] = original_config.recognition_models[f"gen{recogniser[-1]}"][recogniser]
    return models


def characters(recogniser: str) -> str:
    """What its classes 1, 2, ... stand for; class 0 is the blank."""
    return _stated(recogniser)["characters"]


def allowed(recogniser: str, languages: Sequence[str]) -> NDArray[np.float32]:
    """(languages + 1, classes): 1 where a language has the character; the last row are the signs that every language has, and the blank.

    A character that stands in the list twice is taken out in its first place only, as easyocr does.
    """
    known = characters(recogniser)
    folder = Path(original_config.BASE_PATH) / "character"
    alphabets = [set((folder / f"{code}_char.txt").read_text(encoding="utf-8-sig").replace("\n", "")) for code in languages]
    table = np.array([[character in alphabet for character in known] for alphabet in [*alphabets, set(_stated(recogniser)["symbols"])]])
    table[-1] |= np.array([known.index(character) != place for place, character in enumerate(known)])
    blank = np.zeros((len(table), 1), bool)
    blank[-1] = True
    return np.hstack((blank, table)).astype(np.float32)


class Detector(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """CRAFT on uint8 NHWC; its two maps in whole steps."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]) * 255)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]) * 255)

    def forward(self, pixels: Any) -> tuple[Any, Any]:
        """(B, H, W, 3) uint8 to text_map and link_map (B, H / 2, W / 2) uint8. H and W are multiples of 32."""
        model = self.model
        features = model.basenet(((pixels.float() - self.mean) / self.deviation).permute(0, 3, 1, 2))
        level = model.upconv1(torch.cat((features[0], features[1]), dim=1))
        for finer, up in zip(features[2:], (model.upconv2, model.upconv3, model.upconv4), strict=True):
            doubled = functional.interpolate(level, scale_factor=2.0, mode="bilinear", align_corners=False)
            level = up(torch.cat((doubled, finer), dim=1))
        steps = torch.clamp(torch.floor(model.conv_cls(level) * specs.CRAFT_STEPS), 0, 255).to(torch.uint8)
        return steps[:, 0], steps[:, 1]


class Recogniser(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """A recogniser on uint8 rows; per step the best character that the wanted languages allow."""

    def __init__(self, model: Any, table: NDArray[np.float32]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("table", torch.from_numpy(table[:-1]))
        self.register_buffer("always", torch.from_numpy(table[-1]))

    def forward(self, pixels: Any, languages: Any) -> tuple[Any, Any]:
        """(B, 64, W) uint8 and (B, languages) uint8 to ids (B, T) int32 and scores (B, T)."""
        model = self.model
        features = model.FeatureExtraction((pixels[:, None].float() / 255 - 0.5) / 0.5)
        # The mean is what the original's adaptive pooling computes; the older exporter cannot write that one down for a free width.
        steps = model.SequenceModeling(features.permute(0, 3, 1, 2).mean(dim=3))
        chances = functional.softmax(model.Prediction(steps), dim=2)
        mask = ((torch.clamp(languages.float(), 0, 1) @ self.table + self.always) > 0).float()
        kept = chances * mask[:, None]
        scores, ids = (kept / kept.sum(dim=2, keepdim=True)).max(dim=2)
        return ids.to(torch.int32), scores


def build(model: Any, wanted: Wanted, folder: Path, _extras: Extras) -> Built:
    """Write one graph below folder, and a recogniser's characters beside it. Raises ConfigError when parity fails."""
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    if wanted.family is Family.EASYOCR_DETECTOR:
        return _detector(model, wanted, path)
    known = characters(wanted.original.model)
    (folder / CHARACTERS).write_bytes("\n".join(["", *known]).encode())
    return _recogniser(model, wanted, path)


def _detector(model: Any, wanted: Wanted, path: Path) -> Built:
    spec = specs.easyocr_detector(wanted.name)
    axes = {0: graph.BATCH, 1: "height", 2: "width"}
    _write(Detector(model), (torch.zeros(2, 64, 96, 3, dtype=torch.uint8),), spec, path, {"pixels": axes, "text_map": axes, "link_map": axes})
    facts = graph.check(path, spec)
    figures = detector_parity(model, spec, path)
    _demand(wanted.name, figures)
    return Built(spec, {**facts, "buckets": [list(bucket) for bucket in spec.buckets], "parity": figures}, tensors_digest(model))


def _recogniser(model: Any, wanted: Wanted, path: Path) -> Built:
    languages = RECOGNISERS[wanted.original.model]
    spec = specs.easyocr_recogniser(wanted.name, languages=languages)
    table = allowed(wanted.original.model, languages)
    rows = (torch.zeros(2, specs.EASYOCR_HEIGHT, 192, dtype=torch.uint8), torch.ones(2, len(languages), dtype=torch.uint8))
    axes = {
        "pixels": {0: graph.BATCH, 2: "width"},
        "languages": {0: graph.BATCH},
        **{name: {0: graph.BATCH, 1: "steps"} for name in ("ids", "scores")},
    }
    _write(Recogniser(model, table), rows, spec, path, axes)
    facts = graph.check(path, spec)
    figures = recogniser_parity(model, wanted.original.model, spec, path)
    _demand(wanted.name, figures)
    return Built(spec, {**facts, "languages": list(languages), "classes": table.shape[1], "parity": figures}, tensors_digest(model))


def _write(tower: Any, rows: tuple[Any, ...], spec: ModelSpec, path: Path, axes: dict[str, dict[int, str]]) -> None:
    """By the older exporter: the newer one fixes the number of steps at that of the example."""
    torch.onnx.export(
        tower.eval().requires_grad_(requires_grad=False),
        rows,
        str(path),
        dynamo=False,
        opset_version=graph.OPSET,
        input_names=[tensor.name for tensor in spec.inputs],
        output_names=[tensor.name for tensor in spec.outputs],
        dynamic_axes=axes,
    )
    graph.declare(path, spec)


def _demand(name: str, figures: Mapping[str, Any]) -> None:
    """Raises ConfigError, naming figure and bound, when the graph is not the original: nothing may be installed then."""
    bounds = {"score_difference": MAX_SCORE_DIFFERENCE, "batch_difference": MAX_SCORE_DIFFERENCE, "step_difference": 1, "flips": MAX_FLIPS}
    for key, bound in bounds.items():
        if key in figures and not figures[key] <= bound:
            raise ConfigError(f"{name}: parity with the original failed, {key} {figures[key]:.3g} is above {bound}; nothing was installed")


def detector_parity(model: Any, spec: ModelSpec, path: Path) -> dict[str, Any]:
    """Alone and as a batch of three against easyocr's CRAFT with its own normalisation, in steps of the maps."""
    session = graph.Session(path)
    worst = {"step_difference": 0.0, "flips": 0.0, "batch_difference": 0.0}
    for bucket in PARITY_SIZES:
        rows = [{"pixels": _framed(photo, bucket)} for photo in parity.pictures(PARITY_PICTURES)]
        together, alone = session.run(spec.stack(rows)), session.run(spec.stack(rows[:1]))
        theirs = original_maps(model, [row["pixels"] for row in rows])
        for place, name in enumerate(("text_map", "link_map")):
            ours, wanted = together[name].astype(np.int64), theirs[..., place]
            worst["step_difference"] = max(worst["step_difference"], float(np.abs(ours - wanted).max()))
            worst["flips"] = max(worst["flips"], float((ours != wanted).mean()))
            worst["batch_difference"] = max(worst["batch_difference"], float(np.abs(alone[name][0].astype(np.int64) - ours[0]).max()))
    return {**worst, "pictures": PARITY_PICTURES * len(PARITY_SIZES), "batches": list(parity.BATCHES)}


def _framed(photo: Photo, bucket: tuple[int, int]) -> NDArray[np.uint8]:
    return reader.framed(photo.pixels, reader.canvas_for(photo.height, photo.width, [bucket]))


def original_maps(model: Any, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """(N, H / 2, W / 2, 2): easyocr's own maps of (H, W, 3) pictures, in whole steps."""
    batch = np.stack([normalizeMeanVariance(picture.astype(np.float32)).transpose(2, 0, 1) for picture in pictures])
    with torch.no_grad():
        maps: NDArray[np.float32] = model(torch.from_numpy(batch))[0].numpy()
    return np.asarray(np.clip(np.floor(maps * np.float32(specs.CRAFT_STEPS)), 0, 255), np.int64)


def recogniser_parity(model: Any, recogniser: str, spec: ModelSpec, path: Path) -> dict[str, Any]:
    """Lines of grain and strokes at several widths, for every language and for the first alone, against the original's forward and easyocr's own mask."""
    session = graph.Session(path)
    worst = {"score_difference": 0.0, "batch_difference": 0.0}
    rows_seen = 0
    for width in PARITY_WIDTHS:
        pictures = _lines(width)
        for chosen in (range(len(spec.labels)), range(1)):
            languages = np.isin(np.arange(len(spec.labels)), chosen).astype(np.uint8)
            rows = [{"pixels": picture, "languages": languages} for picture in pictures]
            together, alone = session.run(spec.stack(rows)), session.run(spec.stack(rows[:1]))
            theirs = original_chances(model, recogniser, pictures, [spec.labels[i] for i in chosen])
            at_ours = np.take_along_axis(theirs, together["ids"][..., None].astype(np.int64), axis=2)[..., 0]
            # Equal scores make the choice arbitrary: the original's score of our choice is compared, too.
            best = theirs.max(axis=2)
            apart = [np.abs((best - other) / best).max() for other in (at_ours, together["scores"])]
            worst["score_difference"] = max(worst["score_difference"], *map(float, apart))
            worst["batch_difference"] = max(worst["batch_difference"], float(np.abs(alone["scores"][0] - together["scores"][0]).max()))
            rows_seen += len(rows)
    return {**worst, "pictures": rows_seen, "widths": list(PARITY_WIDTHS), "batches": list(parity.BATCHES)}


def _lines(width: int) -> list[NDArray[np.uint8]]:
    """Rows (64, width) cut from rendered pictures, the same on every machine."""
    grey = [photo.pixels[..., 1] for photo in parity.pictures(PARITY_PICTURES)]
    return [np.ascontiguousarray(np.resize(each, (specs.EASYOCR_HEIGHT, width))) for each in grey]


def original_chances(model: Any, recogniser: str, pictures: Sequence[NDArray[np.uint8]], languages: Sequence[str]) -> NDArray[np.float32]:
    """(N, T, classes): the original's softmax of rows (64, W), with what the languages do not allow taken out, as easyocr.recognition does it."""
    known = characters(recogniser)
    folder = Path(original_config.BASE_PATH) / "character"
    spoken = set(_stated(recogniser)["symbols"])
    for code in languages:
        spoken |= set("".join((folder / f"{code}_char.txt").read_text(encoding="utf-8-sig").splitlines()))
    ignored = [known.index(character) + 1 for character in set(known) - spoken]
    batch = (torch.from_numpy(np.stack(pictures))[:, None].float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        chances: NDArray[np.float32] = functional.softmax(model(batch, None), dim=2).numpy()
    chances[:, :, ignored] = 0
    return np.asarray(chances / chances.sum(axis=2, keepdims=True), np.float32)
