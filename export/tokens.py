"""tokenizer.json for the run time, which has the `tokenizers` package and neither torch nor open_clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.processors import TemplateProcessing

from kizu_fast.errors import ConfigError
from kizu_fast.models.clip_text import END, START, load_tokenizer

# The library's own pattern without its two written-out tokens: those are handled where they are rare, in models/clip_text.py.
_PIECES = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

CLEANING = {"lower": "p1", "whitespace": "p1-whitespace", "canonicalize": "p1-canonical"}


def steps_of(text_cfg: dict[str, Any], model: str) -> str:
    """The key of models.clip_text.CLEANERS that this tower's tokenizer cleans by. Raises ConfigError for a way that the run time does not know."""
    wishes = dict(text_cfg.get("tokenizer_kwargs") or {})
    cleaning = wishes.pop("clean", "whitespace" if text_cfg.get("hf_tokenizer_name") else "lower")
    odd = sorted({*wishes, *({"tokenizer_mode"} if text_cfg.get("tokenizer_mode") else set())})
    if odd or cleaning not in CLEANING:
        raise ConfigError(f"{model}: its tokenizer asks for {', '.join(odd) or cleaning}, which the run time does not do; choose another CLIP_MODEL")
    return CLEANING[cleaning]


def write(tokenizer: Any, path: Path) -> None:
    """Write open_clip's tokenizer, its own byte-pair one or one of the hub, as tokenizer.json."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        rules = _byte_pairs(tokenizer)
    else:
        rules = tokenizer.tokenizer.backend_tokenizer
        rules.enable_padding(length=tokenizer.context_length, pad_id=tokenizer.tokenizer.pad_token_id, pad_token=tokenizer.tokenizer.pad_token)
    rules.enable_truncation(max_length=tokenizer.context_length)
    rules.save(str(path), pretty=False)


def _byte_pairs(tokenizer: open_clip.SimpleTokenizer) -> Tokenizer:
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    rules = Tokenizer(BPE(vocab=tokenizer.encoder, merges=merges, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False))
    rules.pre_tokenizer = Steps([Split(Regex(_PIECES), behavior="removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)])
    rules.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, tokenizer.sot_token_id), (END, tokenizer.eot_token_id)]
    )
    rules.decoder = ByteLevelDecoder()
    return rules


def unequal(tokenizer: Any, path: Path, steps: str, texts: Sequence[str]) -> list[str]:
    """The texts whose ids differ between open_clip's tokenizer and the written file, read back as the run time reads it."""
    ours = load_tokenizer(path, tokenizer.context_length, steps)
    theirs = tokenizer(list(texts)).numpy()
    return [text for text, want in zip(texts, theirs, strict=True) if not np.array_equal(ours(text), want)]
