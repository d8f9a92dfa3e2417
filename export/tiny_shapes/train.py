"""Train Tiny-Shapes from nothing: an open_clip model of under 2 MB on pictures and captions that pictures.py renders.

    nice .venv-export/bin/python -m export.tiny_shapes.train [--folder DIR]

Writes DIR/open_clip/: the architecture (Tiny-Shapes.json), the weights (Tiny-Shapes_own.safetensors, half precision) and the tokenizer, laid out as
`python -m export --models Tiny-Shapes/own --weights DIR` reads them. Same seed, same packages, same machine: same file.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from export.tiny_shapes import pictures
from export.tiny_shapes.pictures import Scene
from kizu_fast.domain import Photo
from kizu_fast.models import clip as image_model

MODEL, TAG = "Tiny-Shapes", "own"
WEIGHTS = Path(__file__).parent / "weights"
TOKENIZER = "kizu_fast/tiny-shapes"  # as it would be named on a hub; its folder below open_clip/tokenizers has -- for /
SEED = 20
SIDE, CONTEXT = 32, 20
POOL, BATCH, STEPS = 5000, 128, 480
RATE, DECAY, WARM_UP = 3e-3, 0.05, 0.1
HOTTEST = math.log(100)  # of the logit scale, as CLIP's own training caps it
START, END, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"


def vocabulary() -> list[str]:
    """Tokens by id: every word that a caption can have. END is the last, since the text tower reads its vector at the largest id."""
    said = [*pictures.NUMBERS, *pictures.PLACES, *pictures.SURROUNDINGS, *pictures.RELATIONS, *pictures.OPENINGS, *pictures.COLOURS]
    words = {word for text in [*said, *pictures.SHAPES, *pictures.SHAPES.values(), "a , and"] for word in text.lower().split()}
    return [PAD, START, UNKNOWN, *sorted(words), END]


def architecture() -> dict[str, Any]:
    """open_clip's configuration: the smallest ResNet that it can build, and two layers of text."""
    return {
        "embed_dim": 64,
        "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 12, "head_width": 64, "patch_size": None},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": len(vocabulary()),
            "hf_tokenizer_name": TOKENIZER,
            "tokenizer_kwargs": {"clean": "lower"},
            "width": 48,
            "heads": 4,
            "layers": 2,
        },
    }


def tokenizer() -> Any:
    """Words for tokens, as a tokenizer of the hub's kind."""
    ids = {word: i for i, word in enumerate(vocabulary())}
    rules = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    rules.normalizer, rules.pre_tokenizer = Lowercase(), Whitespace()
    rules.post_processor = TemplateProcessing(single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=rules, bos_token=START, eos_token=END, pad_token=PAD, unk_token=UNKNOWN, model_max_length=CONTEXT
    )


def write_configuration(folder: Path) -> None:
    """Architecture and tokenizer below folder, known to open_clip from then on."""
    home = folder / "open_clip"
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{MODEL}.json"
    path.write_text(json.dumps(architecture(), indent=2) + "\n", encoding="utf-8")
    tokenizer().save_pretrained(home / "tokenizers" / TOKENIZER.replace("/", "--"))
    open_clip.add_model_config(path)


def photos(scenes: Sequence[Scene], chance: np.random.Generator) -> NDArray[np.uint8]:
    """(N, SIDE, SIDE, 3): each scene rendered and preprocessed as at run time."""
    rendered = [np.asarray(pictures.render(scene, chance)) for scene in scenes]
    return np.stack([image_model.preprocess(Photo(pixels, pixels.shape[1], pixels.shape[0]), SIDE) for pixels in rendered])


def train(model: Any, *, steps: int = STEPS, pool: int = POOL) -> None:
    """CLIP's symmetric loss over a pool of pictures that is rendered once, and captions that are worded anew each time."""
    chance = np.random.default_rng(SEED)
    scenes = np.array(pictures.scenes(pool, chance, held_out=False), dtype=object)
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key]) * 255 for key in ("mean", "std"))
    shown = ((torch.from_numpy(photos(scenes.tolist(), chance)).float() - mean) / std).permute(0, 3, 1, 2).contiguous()
    words, same = tokenizer(), {scene: i for i, scene in enumerate(dict.fromkeys(scenes))}
    kinds = torch.tensor([same[scene] for scene in scenes])
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=WARM_UP)
    order = np.concatenate([chance.permutation(pool) for _ in range(steps * BATCH // pool + 1)])
    model.train()
    for step in range(steps):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        said = [pictures.caption(scene, chance) for scene in scenes[chosen]]
        ids = words(said, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids
        loss = _loss(model, shown[chosen], ids, kinds[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, HOTTEST)
        if step % 40 == 39:  # noqa: PLR2004  # a line now and then
            _say(f"step {step + 1} of {steps}, loss {loss.item():.3f}")
    model.eval()


def _loss(model: Any, shown: Any, ids: Any, kinds: Any) -> Any:
    """A batch may show one scene twice: the other one is no wrong answer."""
    images, texts, scale = model(shown, ids)[:3]
    right = torch.arange(len(kinds))
    twins = (kinds[:, None] == kinds[None]) & (right[:, None] != right[None])
    logits = (scale * images @ texts.T).masked_fill(twins, -math.inf)
    return (torch.nn.functional.cross_entropy(logits, right) + torch.nn.functional.cross_entropy(logits.T, right)) / 2


def recall(model: Any, *, held_out: bool, count: int = 240, best: int = 5) -> float:
    """How often the picture of a caption is among the best of a gallery in which no two captions are alike, in the original library."""
    chance = np.random.default_rng(SEED + 1)
    gallery = pictures.gallery(count, chance, held_out=held_out)
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key]) * 255 for key in ("mean", "std"))
    shown = ((torch.from_numpy(photos(gallery, chance)).float() - mean) / std).permute(0, 3, 1, 2)
    said = [pictures.caption(scene) for scene in gallery]
    ids = tokenizer()(said, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        likeness = model.encode_text(ids, normalize=True) @ model.encode_image(shown, normalize=True).T
    found = likeness.topk(best, dim=1).indices == torch.arange(count)[:, None]
    return float(found.any(dim=1).float().mean())


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m export.tiny_shapes.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=WEIGHTS, metavar="DIR", help="default: the committed one")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    torch.set_num_threads(1)  # sums in one order
    torch.manual_seed(SEED)
    write_configuration(options.folder)
    model = open_clip.create_model(MODEL, load_weights=False)
    train(model)
    path = options.folder / "open_clip" / f"{MODEL}_{TAG}.safetensors"
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file(state, path)
    model.load_state_dict(state)
    _say(f"{path}: {path.stat().st_size / 1e6:.2f} MB after {time.monotonic() - began:.0f} s ({time.process_time():.0f} s of one core)")
    _say(f"recall@5 among 240 pictures: {recall(model, held_out=True):.3f} of held-out pairs, {recall(model, held_out=False):.3f} of known ones")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"train: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
