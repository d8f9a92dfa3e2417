"""Captioners of the true structure, small enough to export in seconds: random weights wild enough that captions differ and end at different lengths."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from export.sources.describe import CHECKPOINTS, PROMPTS

VOCABULARY = 300
IMAGE_TOKEN = VOCABULARY - 1
# Standard deviation of every matrix, and how much longer the row of the end token is. With the usual 0.02 all pictures get one caption; with these the
# best and the second best token are never nearer to each other than 0.004, so that rounding decides nothing.
FLORENCE_WILDNESS, VIT_GPT2_WILDNESS = (0.3, 10.0), (0.4, 4.0)
BART_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
GPT2_END = 0


def florence(home: Path, wildness: tuple[float, float] = FLORENCE_WILDNESS) -> Path:
    """A weights folder with a tiny Florence-2: four stages of DaViT, two layers of BART on each side, pictures of 128 pixels."""
    torch.manual_seed(1)
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    text = BartConfig(
        vocab_size=VOCABULARY, d_model=48, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=200, tie_word_embeddings=False, **layers
    )
    vision = {"depths": [1, 1, 2, 1], "embed_dim": [16, 32, 64, 64], "num_heads": [1, 2, 4, 4], "num_groups": [1, 2, 4, 4], "projection_dim": 48}
    config = Florence2Config(
        text_config=text.to_dict(), vision_config={**vision, "window_size": 4}, image_token_id=IMAGE_TOKEN, tie_word_embeddings=False
    )
    folder = home / CHECKPOINTS["florence-2-base"].folder
    generation = {**CHECKPOINTS["florence-2-base"].generation, "forced_eos_token_id": 2, "num_beams": 3}
    return _write(home, folder, wild(Florence2ForConditionalGeneration(config), 2, *wildness), BART_TOKENS, generation, 128, 3)


def vit_gpt2(home: Path, wildness: tuple[float, float] = VIT_GPT2_WILDNESS) -> Path:
    """A weights folder with a tiny ViT-GPT2: two layers of each, pictures of 32 pixels, start, end and padding one token as in the original."""
    torch.manual_seed(2)
    vision = ViTConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8)
    text = GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=4, tie_word_embeddings=False, add_cross_attention=True, is_decoder=True,
        bos_token_id=GPT2_END, eos_token_id=GPT2_END,
    )  # fmt: skip
    ids = {"decoder_start_token_id": GPT2_END, "pad_token_id": GPT2_END, "eos_token_id": GPT2_END}
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text, tie_word_embeddings=False, **ids)
    folder = home / CHECKPOINTS["vit-gpt2"].folder
    return _write(home, folder, wild(VisionEncoderDecoderModel(config), GPT2_END, *wildness), ["<|endoftext|>"], ids, 32, 2)


def wild(model: Any, eos: int, spread: float, boost: float) -> Any:
    """Every matrix drawn anew, the row of the end token longer than the others."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, spread)
    model.get_output_embeddings().weight.data[eos] *= boost
    return model.eval()


def _write(home: Path, folder: Path, model: Any, special: list[str], generation: dict[str, Any], side: int, resample: int) -> Path:
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}  # every name: what is tied is stored twice
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "generation_config.json").write_text(json.dumps(generation))
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) if resample == 3 else ([0.5] * 3, [0.5] * 3)
    size = {"height": side, "width": side}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size, "resample": resample, "image_mean": mean, "image_std": std}))
    tokenizer(special).save(str(folder / "tokenizer.json"))
    return home


def tokenizer(special: list[str]) -> Tokenizer:
    """Byte-level pairs as BART and GPT-2 have them, learnt from the prompts."""
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer, rules.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 1, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    rules.train_from_iterator([prompt for prompt, _ in PROMPTS.values()] * 4, trainer)
    rules.add_special_tokens([AddedToken(word, special=True) for word in special])
    return rules
