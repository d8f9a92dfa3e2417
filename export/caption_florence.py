"""Florence-2: DaViT and BART as one encoder from pixels to cross keys and values, and one cached decoding step."""

from typing import Any

import torch
from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

from export.caption_loop import Rules, Step, split_heads


def architecture() -> Florence2Config:
    """Florence-2-base: what the checkpoint's config.json says, for untrained weights. transformers' defaults are those of its vision tower."""
    text = BartConfig(
        vocab_size=51290,
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
        max_position_embeddings=4096,
        forced_bos_token_id=0,
        no_repeat_ngram_size=3,
    )
    return Florence2Config(text_config=text.to_dict(), vision_config={"projection_dim": 768})


class Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """uint8 NHWC and the prompt, which is a constant, to the keys and values of every decoder layer's cross attention."""

    def __init__(self, model: Florence2ForConditionalGeneration, prompt: list[int], mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model.model
        scale = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * scale))
        self.register_buffer("shift", torch.tensor(mean).view(1, 3, 1, 1) / scale)
        self.register_buffer("prompt", model.get_input_embeddings()(torch.tensor([prompt])).detach())

    def forward(self, pixels: Any) -> tuple[Any, ...]:
        """(B, side, side, 3) uint8 to 2 * layers tensors (B, heads, S, head_dim): keys and values of layer 0, of layer 1, ..."""
        image = self.model.get_image_features(pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift)
        # concatenated, not scattered into placeholders as the library does: the same row, without a mask
        embeds = torch.cat((image, self.prompt.expand(image.shape[0], -1, -1)), dim=1)
        states = self.model.language_model.encoder(inputs_embeds=embeds).last_hidden_state
        heads = self.model.language_model.config.decoder_attention_heads
        found = []
        for layer in self.model.language_model.decoder.layers:
            found += [split_heads(project(states), heads) for project in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)]
        return tuple(found)


class Decoder(Step):
    """One step of BART's decoder."""

    def __init__(self, model: Florence2ForConditionalGeneration, rules: Rules) -> None:
        decoder = model.model.language_model.decoder
        config = decoder.config
        super().__init__(rules, config.decoder_layers, config.decoder_attention_heads, config.d_model // config.decoder_attention_heads)
        self.embed, self.blocks, self.norm, self.head = decoder.embed_tokens, decoder.layers, decoder.layernorm_embedding, model.lm_head
        offset = decoder.embed_positions.offset  # 2: the table's first rows belong to padding
        self.register_buffer("positions", decoder.embed_positions.weight[offset : offset + rules.length].detach().clone())

    def logits(self, i: Any, token: Any, past: Any, cross: Any) -> tuple[Any, Any]:
        """See Step."""
        hidden = self.norm(self.embed(token) + self.positions.index_select(0, i.reshape(1)))
        future, kept = self.future(i), []
        for layer, block in enumerate(self.blocks):
            own, other = block.self_attn, block.encoder_attn
            keys, values = self.remember(i, past, layer, own.k_proj(hidden), own.v_proj(hidden))
            kept += [keys, values]
            hidden = block.self_attn_layer_norm(hidden + own.out_proj(self.attend(own.q_proj(hidden), keys, values, future)))
            seen = self.attend(other.q_proj(hidden), cross[2 * layer], cross[2 * layer + 1])
            hidden = block.encoder_attn_layer_norm(hidden + other.out_proj(seen))
            hidden = block.final_layer_norm(hidden + block.fc2(block.activation_fn(block.fc1(hidden))))
        return self.head(hidden), torch.stack(kept)
