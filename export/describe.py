"""Captioners: Florence-2 by our own export, ViT-GPT2 checked by optimum, both as pixels in and token ids out, with the greedy loop in the graph."""

import gc
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import AddedToken, Tokenizer, models
from transformers import BartTokenizerFast, Florence2ForConditionalGeneration, GPT2TokenizerFast, VisionEncoderDecoderModel

from export import caption_florence, caption_loop, caption_vit_gpt2, graph, parity
from export.caption_loop import Rules
from export.install import Built
from export.sources.describe import CHECKPOINTS, PROMPTS, Checkpoint, detail_of
from export.tensors import tensors_digest
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.backends.memory import peak_resident_bytes
from kizu_fast.errors import ConfigError
from kizu_fast.models import caption as captions
from kizu_fast.specs import ModelSpec

PARITY_PICTURES = 4
BATCHES = (1, 2)
BART_VOCABULARY = 50265  # a tokenizer of this size or larger is BART's own: the prompt's ids are known
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """How the checkpoint wants its picture: stretched to a square of side, then (value / 255 - mean) / std."""

    side: int
    steps: str  # key of models.caption.STEPS
    mean: list[float]
    std: list[float]


@dataclass(frozen=True, slots=True)
class Captioner:
    """A loaded checkpoint and what its graph needs around it."""

    model: Any  # torch.nn.Module
    checkpoint: Checkpoint
    picture: Picture
    generation: Mapping[str, Any]
    tokenizer: Tokenizer
    sha256: str
    trained: bool


def load(original: Original, weights: Weights) -> Captioner:
    """Raises ConfigError for a folder that is no such checkpoint. Code that lies in the folder is never run."""
    checkpoint = CHECKPOINTS[original.model]
    folder = weights.path
    model = _untrained(checkpoint) if folder is None else _read(checkpoint, folder)
    model.eval().requires_grad_(requires_grad=False)
    if checkpoint.kind == "vit-gpt2":
        caption_vit_gpt2.refuse_unserved(model.config)
    generation = {**checkpoint.generation, **_json(folder, "generation_config.json")}
    tokenizer = stand_in_tokenizer(model.get_output_embeddings().out_features) if folder is None else read_tokenizer(checkpoint, folder)
    picture = picture_of({**checkpoint.picture, **_json(folder, "preprocessor_config.json")}, original.model)
    return Captioner(model, checkpoint, picture, generation, tokenizer, weights.sha256 or tensors_digest(model), folder is not None)


def _untrained(checkpoint: Checkpoint) -> Any:
    torch.manual_seed(0)
    if checkpoint.kind == "florence-2":
        return Florence2ForConditionalGeneration(caption_florence.architecture())
    return VisionEncoderDecoderModel(caption_vit_gpt2.architecture())


def _read(checkpoint: Checkpoint, folder: Path) -> Any:
    kind = Florence2ForConditionalGeneration if checkpoint.kind == "florence-2" else VisionEncoderDecoderModel
    if "auto_map" in _json(folder, "config.json"):
        raise ConfigError(f"{folder} is a checkpoint that brings code of its own, which is never run; take {checkpoint.hub} instead")
    try:
        model, found = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, output_loading_info=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{folder} is no checkpoint of {checkpoint.hub}: {str(error).strip().splitlines()[0]}") from error
    for what, names in (("lacks", found["missing_keys"]), ("has unknown", found["unexpected_keys"]), ("has misshapen", found["mismatched_keys"])):
        odd = sorted(str(name) for name in names if not str(name).endswith((".attn.bias", ".attn.masked_bias", ".crossattention.bias")))
        if odd:
            raise ConfigError(f"{folder} does not fit {checkpoint.hub}: it {what} {odd[0]} ({len(odd)} such)")
    return model


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    """What a file of the checkpoint states, nothing where it is not there. Raises ConfigError for broken JSON."""
    if folder is None or not (folder / name).is_file():
        return {}
    try:
        written = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{folder / name} is no JSON: {error}") from error
    return {key: value for key, value in written.items() if value is not None}


def picture_of(stated: Mapping[str, Any], model: str) -> Picture:
    """From preprocessor_config.json. Raises ConfigError for a crop, a shape or a filter that is not served."""
    size = stated["size"]
    sides = {size} if isinstance(size, int) else {size.get("height"), size.get("width")}
    names = {2: "stretch1-bilinear", 3: "stretch1-bicubic"}
    if len(sides) != 1 or None in sides or stated.get("do_center_crop") or stated["resample"] not in names:
        raise ConfigError(
            f"{model}: only whole pictures stretched to a square, bilinear or bicubic, are served; the checkpoint asks for {dict(stated)}"
        )
    return Picture(int(sides.pop()), names[stated["resample"]], list(stated["image_mean"]), list(stated["image_std"]))


def read_tokenizer(checkpoint: Checkpoint, folder: Path) -> Tokenizer:
    """tokenizer.json, or what it would be, made from vocab.json and merges.txt. Raises ConfigError."""
    if (folder / TOKENIZER).is_file():
        return captions.load_rules(folder / TOKENIZER)
    if not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        raise ConfigError(f"{folder} has neither {TOKENIZER} nor vocab.json with merges.txt; bring one of them from {checkpoint.hub}")
    kind = BartTokenizerFast if checkpoint.kind == "florence-2" else GPT2TokenizerFast
    made: Tokenizer = kind.from_pretrained(folder, local_files_only=True).backend_tokenizer
    return made


def stand_in_tokenizer(size: int) -> Tokenizer:
    """For untrained weights: every id is a made-up word, so that a caption can be seen to mean nothing."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = [*special, *(f"word{i}" for i in range(len(special), size))]
    rules = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))  # noqa: S106  # a token of text
    rules.add_special_tokens([AddedToken(word, special=True) for word in (*special, words[-1])])  # GPT-2's only special token is its last
    return rules


def build(captioner: Captioner, wanted: Wanted, folder: Path, _extras: Extras) -> Built:
    """Write graph and tokenizer below folder. Raises ConfigError when a caption differs from the original's."""
    began, checkpoint, picture = time.monotonic(), captioner.checkpoint, captioner.picture
    detail = detail_of(wanted.name)
    rules = rules_of(captioner.generation, checkpoint.lengths[detail])
    prompt, ids = prompt_of(captioner, detail)
    spec = specs.caption(wanted.name, side=picture.side, length=rules.length, preprocessing=picture.steps)
    path = folder / "1" / "model.onnx"
    encoder, step = _halves(captioner, ids, rules)
    caption_loop.export(encoder, step, spec, path)
    joined_mb = round(peak_resident_bytes() / 1e6)
    captioner.tokenizer.save(str(folder / TOKENIZER))
    facts = {**graph.check(path, spec), "prompt": prompt, "prompt_ids": ids, "length": rules.length, "side": picture.side}
    original = originals(captioner, ids, rules)
    figures = caption_parity(spec, path, original)
    if checkpoint.kind == "vit-gpt2":
        figures |= optimum_parity(captioner, rules, original)
    parity.demand(wanted.name, figures)
    different = [key for key, value in figures.items() if key.startswith("equal_captions") and value < 1]
    if different:
        raise ConfigError(f"{wanted.name}: parity with the original failed, {different[0]} is {figures[different[0]]:.2f}; nothing was installed")
    facts |= {"checkpoint": checkpoint.hub, "revision": checkpoint.revision, "preprocessing": picture.steps, "parity": figures}
    facts |= {
        "export_seconds": round(time.monotonic() - began),
        "joined_peak_rss_mb": joined_mb,
        "export_peak_rss_mb": round(peak_resident_bytes() / 1e6),
    }
    return Built(spec, facts, captioner.sha256)


def rules_of(generation: Mapping[str, Any], length: int) -> Rules:
    """From generation_config.json. Greedy search obeys the rest of it only as far as Rules says."""
    eos = generation["eos_token_id"]
    return Rules(
        length=length,
        start=generation["decoder_start_token_id"],
        eos=eos[0] if isinstance(eos, list) else eos,
        pad=generation["pad_token_id"],
        forced_bos=generation.get("forced_bos_token_id"),
        no_repeat_ngram=generation.get("no_repeat_ngram_size", 0),
    )


def prompt_of(captioner: Captioner, detail: str) -> tuple[str, list[int]]:
    """The sentence that asks for a caption and its ids <s> ... </s>; nothing for a model that is not asked.

    Raises ConfigError when BART's own tokenizer does not give the ids that Florence-2 was trained with.
    """
    if captioner.checkpoint.kind != "florence-2":
        return "", []
    prompt, known = PROMPTS[detail]
    if not captioner.trained:  # its tokenizer is a stand-in
        return prompt, list(known)
    ids = list(captioner.tokenizer.encode(f"<s>{prompt}</s>", add_special_tokens=False).ids)
    if captioner.tokenizer.get_vocab_size() >= BART_VOCABULARY and ids != list(known):
        raise ConfigError(f"the checkpoint's tokenizer reads the prompt {prompt!r} as {ids}, Florence-2 was trained with {list(known)}")
    return prompt, ids


def _halves(captioner: Captioner, ids: list[int], rules: Rules) -> tuple[Any, caption_loop.Step]:
    mean, std = captioner.picture.mean, captioner.picture.std
    if captioner.checkpoint.kind == "florence-2":
        return caption_florence.Encoder(captioner.model, ids, mean, std), caption_florence.Decoder(captioner.model, rules)
    return caption_vit_gpt2.Encoder(captioner.model, mean, std), caption_vit_gpt2.Decoder(captioner.model, rules)


Generate = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def planes(pixels: NDArray[np.uint8], picture: Picture) -> Any:
    """(B, side, side, 3) uint8 to the pixel_values (B, 3, side, side) that the original takes."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (picture.mean, picture.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def originals(captioner: Captioner, ids: list[int], rules: Rules) -> Generate:
    """The original's own greedy generate() as a function: (B, side, side, 3) uint8 to (B, T) ids, padded."""

    def generate(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        values = planes(pixels, captioner.picture)
        extra: dict[str, Any] = {}
        if captioner.checkpoint.kind == "florence-2":  # by its documented way, with placeholders for the picture
            places = captioner.model.get_image_features(values[:1]).shape[1]
            extra["input_ids"] = torch.tensor([[captioner.model.config.image_token_id] * places + ids] * len(pixels))
        return padded(captioner.model.generate(pixel_values=values, **extra, **rules.generate_arguments()), rules)

    return generate


def padded(tokens: Any, rules: Rules) -> NDArray[np.int64]:
    """generate() ends with its longest row: the rest up to T is padding."""
    rows = np.full((tokens.shape[0], rules.length), rules.pad, np.int64)
    rows[:, : tokens.shape[1]] = tokens.numpy()
    return rows


def parity_rows(spec: ModelSpec) -> NDArray[np.uint8]:
    """Rendered pictures through the preprocessing of the run time."""
    side = spec.inputs[0].shape[0]
    return np.stack([captions.preprocess(photo, side, spec.preprocessing) for photo in parity.pictures(PARITY_PICTURES)])


def caption_parity(spec: ModelSpec, path: Path, original: Generate) -> dict[str, Any]:
    """Share of captions that equal the original's token by token, alone and in batches. The original goes first: both need a gigabyte to work in."""
    rows, name, output = parity_rows(spec), spec.inputs[0].name, spec.outputs[0].name
    theirs = np.concatenate([original(rows[i : i + 1]) for i in range(len(rows))])
    gc.collect()
    session = graph.Session(path, arena=False)
    by_batch = {size: np.concatenate([session.run({name: rows[i : i + size]})[output] for i in range(0, len(rows), size)]) for size in BATCHES}
    equal = {size: float((ours == theirs).all(axis=1).mean()) for size, ours in by_batch.items()}
    return {
        "equal_captions": min(equal.values()),
        "batch_difference": float(np.abs(by_batch[BATCHES[0]] - by_batch[BATCHES[1]]).max()),
        "pictures": len(rows),
    }


def optimum_parity(captioner: Captioner, rules: Rules, original: Generate) -> dict[str, Any]:
    """The same captions by optimum: its exporter reads the checkpoint, its ORT model generates. Raises ConfigError when it cannot."""
    from optimum.exporters.onnx import main_export  # noqa: PLC0415  # seconds, and only here
    from optimum.onnxruntime import ORTModelForVision2Seq  # noqa: PLC0415

    rows = parity_rows(specs.caption("", side=captioner.picture.side, length=rules.length, preprocessing=captioner.picture.steps))
    with tempfile.TemporaryDirectory() as home:
        checkpoint, exported = Path(home, "checkpoint"), Path(home, "exported")
        captioner.model.save_pretrained(checkpoint)
        try:
            main_export(str(checkpoint), exported, task="image-to-text", library_name="transformers", opset=graph.OPSET, do_validation=False)
            model = ORTModelForVision2Seq.from_pretrained(exported, use_cache=False, use_io_binding=False)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigError(f"{captioner.checkpoint.hub}: optimum cannot load it: {str(error).strip().splitlines()[0]}") from error
        tokens = model.generate(pixel_values=planes(rows, captioner.picture), **rules.generate_arguments())
    return {"equal_captions_by_optimum": float((padded(tokens, rules) == original(rows)).all(axis=1).mean())}
