"""ViT-GPT2: a ViT encoder with the cross keys and values of GPT-2's layers, and one cached decoding step."""

from typing import Any

import torch
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

from export.caption_loop import Rules, Step, split_heads
from kizu_fast.errors import ConfigError


def architecture() -> VisionEncoderDecoderConfig:
    """vit-gpt2-image-captioning: ViT base at 224 with patches of 16, GPT-2 small with cross attention, for untrained weights."""
    text = GPT2Config(add_cross_attention=True, is_decoder=True)
    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(), text, decoder_start_token_id=50256, pad_token_id=50256, eos_token_id=50256
    )


def refuse_unserved(config: VisionEncoderDecoderConfig) -> None:
    """Raises ConfigError for an architecture that the step below does not compute."""
    text = config.decoder
    plain = text.scale_attn_weights and not text.scale_attn_by_inverse_layer_idx and not text.reorder_and_upcast_attn
    if config.encoder.model_type != "vit" or text.model_type != "gpt2" or not plain:
        raise ConfigError(
            f"a captioner of {config.encoder.model_type} and {text.model_type} is not served; DESCRIBE_MODEL=vit-gpt2 takes ViT with GPT-2"
        )


class Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """uint8 NHWC to the keys and values of every decoder layer's cross attention."""

    def __init__(self, model: VisionEncoderDecoderModel, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.project = model.enc_to_dec_proj if hasattr(model, "enc_to_dec_proj") else torch.nn.Identity()
        self.blocks = torch.nn.ModuleList([block.crossattention for block in model.decoder.transformer.h])
        self.heads = model.config.decoder.n_head
        scale = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * scale))
        self.register_buffer("shift", torch.tensor(mean).view(1, 3, 1, 1) / scale)

    def forward(self, pixels: Any) -> tuple[Any, ...]:
        """(B, side, side, 3) uint8 to 2 * layers tensors (B, heads, S, head_dim): keys and values of layer 0, of layer 1, ..."""
        states = self.encoder(pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift).last_hidden_state
        states = self.project(states)
        return tuple(split_heads(part, self.heads) for block in self.blocks for part in block.c_attn(states).chunk(2, dim=2))


class Decoder(Step):
    """One step of GPT-2."""

    def __init__(self, model: VisionEncoderDecoderModel, rules: Rules) -> None:
        text = model.decoder.transformer
        config = model.config.decoder
        super().__init__(rules, config.n_layer, config.n_head, config.n_embd // config.n_head)
        self.embed, self.blocks, self.norm, self.head = text.wte, text.h, text.ln_f, model.decoder.lm_head
        self.register_buffer("positions", text.wpe.weight[: rules.length].detach().clone())

    def logits(self, i: Any, token: Any, past: Any, cross: Any) -> tuple[Any, Any]:
        """See Step."""
        hidden = self.embed(token) + self.positions.index_select(0, i.reshape(1))
        future, kept = self.future(i), []
        for layer, block in enumerate(self.blocks):
            query, key, value = block.attn.c_attn(block.ln_1(hidden)).chunk(3, dim=1)
            keys, values = self.remember(i, past, layer, key, value)
            kept += [keys, values]
            hidden = hidden + block.attn.c_proj(self.attend(query, keys, values, future))
            query = block.crossattention.q_attn(block.ln_cross_attn(hidden))
            hidden = hidden + block.crossattention.c_proj(self.attend(query, cross[2 * layer], cross[2 * layer + 1]))
            hidden = hidden + block.mlp(block.ln_2(hidden))
        return self.head(self.norm(hidden)), torch.stack(kept)
