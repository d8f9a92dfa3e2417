"""Greedy decoding inside the graph: an encoder and one decoding step, exported apart and joined by one ONNX Loop.

What generate(num_beams=1) does of its own accord is in the step: forced first token, ban of repeated n-grams, padding of finished rows.
"""

import gc
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from export import graph, streamed
from kizu_fast.specs import ModelSpec

MASKED = -1e9
ENCODER, STEP = "encoder/", "step/"


@dataclass(frozen=True, slots=True)
class Rules:
    """Generation settings of a checkpoint that greedy search obeys."""

    length: int  # T: tokens of a row, start token included
    start: int
    eos: int
    pad: int
    forced_bos: int | None = None
    no_repeat_ngram: int = 0  # 0: repetition is allowed

    def generate_arguments(self) -> dict[str, Any]:
        """The same for the original's generate(). forced_eos replaces the last token at the cap and is left out on both sides."""
        return {
            "max_length": self.length,
            "num_beams": 1,
            "do_sample": False,
            "early_stopping": False,
            "length_penalty": 1.0,
            "decoder_start_token_id": self.start,
            "eos_token_id": self.eos,
            "pad_token_id": self.pad,
            "forced_bos_token_id": self.forced_bos,
            "forced_eos_token_id": None,
            "no_repeat_ngram_size": self.no_repeat_ngram,
        }


class Step(torch.nn.Module, ABC):  # type: ignore[misc]  # torch is not in the development environment
    """One token for every row. A subclass brings logits()."""

    def __init__(self, rules: Rules, layers: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.rules, self.layers, self.heads, self.head_dim = rules, layers, heads, head_dim

    @abstractmethod
    def logits(self, i: Any, token: Any, past: Any, cross: Sequence[Any]) -> tuple[Any, Any]:
        """Row index i (scalar), token (B,), past (2 * layers, B, heads, T, head_dim), cross 2 * layers of (B, heads, S, head_dim): (B, V) and the new past."""

    def forward(self, i: Any, tokens: Any, done: Any, past: Any, *cross: Any) -> tuple[Any, Any, Any, Any]:
        """(i, tokens (B, T) int64, done (B,) bool, past) to (whether any row goes on, tokens, done, past)."""
        position = torch.arange(self.rules.length)
        token = tokens.index_select(1, i.reshape(1)).squeeze(1)
        scores, past = self.logits(i, token, past, cross)
        chosen = self._forced(i, self._without_repeats(i, tokens, scores).argmax(dim=1))
        chosen = torch.where(done, torch.full_like(chosen, self.rules.pad), chosen)
        tokens = torch.where((position == i + 1)[None], chosen[:, None], tokens)
        done = done | (chosen == self.rules.eos)
        return torch.logical_not(done).any(), tokens, done, past

    def _forced(self, i: Any, chosen: Any) -> Any:
        if self.rules.forced_bos is None:
            return chosen
        return torch.where(i == 0, torch.full_like(chosen, self.rules.forced_bos), chosen)

    def _without_repeats(self, i: Any, tokens: Any, scores: Any) -> Any:
        """scores (B, V) with minus infinity where a token would end an n-gram that the row already holds."""
        n = self.rules.no_repeat_ngram
        if n == 0:
            return scores
        starts = self.rules.length - n + 1
        position = torch.arange(starts)
        match = (position + n - 1 <= i)[None]
        for k in range(n - 1):  # the last n - 1 tokens against those of every earlier n-gram
            ours = tokens.index_select(1, (i - (n - 2) + k).clamp(min=0).reshape(1))
            match = match & (tokens[:, k : k + starts] == ours)
        vocabulary = scores.shape[1]
        banned = torch.where(match, tokens[:, n - 1 :], torch.full_like(tokens[:, n - 1 :], vocabulary))  # one column more takes what is no match
        mask = torch.zeros_like(torch.nn.functional.pad(scores, (0, 1))).scatter(1, banned, float("-inf"))
        return scores + mask[:, :vocabulary]

    def attend(self, query: Any, keys: Any, values: Any, mask: Any = None) -> Any:
        """query (B, heads * head_dim), keys and values (B, heads, S, head_dim): (B, heads * head_dim)."""
        split = query.reshape(-1, self.heads, 1, self.head_dim) * self.head_dim**-0.5
        weights = split @ keys.transpose(2, 3)
        if mask is not None:
            weights = weights + mask
        return (weights.softmax(dim=-1) @ values).reshape(-1, self.heads * self.head_dim)

    def remember(self, i: Any, past: Any, layer: int, key: Any, value: Any) -> tuple[Any, Any]:
        """Keys and values of a layer, (B, heads, T, head_dim) each, with those of this token, (B, heads * head_dim), at i."""
        here = (torch.arange(self.rules.length) == i)[:, None]
        keys, values = (
            torch.where(here, new.reshape(-1, self.heads, 1, self.head_dim), old)
            for new, old in ((key, past[2 * layer]), (value, past[2 * layer + 1]))
        )
        return keys, values

    def future(self, i: Any) -> Any:
        """Added to attention weights: nothing up to i, MASKED behind it."""
        return torch.where(torch.arange(self.rules.length) > i, MASKED, 0.0)


def split_heads(states: Any, heads: int) -> Any:
    """(B, S, heads * head_dim) to (B, heads, S, head_dim)."""
    return states.unflatten(2, (heads, -1)).transpose(1, 2)


def export(encoder: Any, step: Step, spec: ModelSpec, path: Path) -> None:
    """Write pixels -> tokens as one file. encoder: uint8 (B, side, side, 3) to 2 * layers tensors (B, heads, S, head_dim)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cross = [f"cross_{k}" for k in range(2 * step.layers)]
    pixels = torch.zeros(2, *spec.inputs[0].shape, dtype=torch.uint8)
    sources = [path.with_name("encoder.onnx"), path.with_name("step.onnx")]
    batch = torch.export.Dim(graph.BATCH)
    _part(encoder, (pixels,), sources[0], ([spec.inputs[0].name], cross), ({0: batch},))
    states = [torch.zeros(2, step.heads, size, step.head_dim) for size in _lengths(sources[0], cross)]
    length = step.rules.length
    row = torch.full((2, length), step.rules.pad)
    past = torch.zeros(2 * step.layers, 2, step.heads, length, step.head_dim)
    example = (torch.tensor(0), row, torch.zeros(2, dtype=torch.bool), past, *states)
    names = (["i", "tokens", "done", "past", *cross], ["go_on", "tokens_out", "done_out", "past_out"])
    shapes = (None, {0: batch}, {0: batch}, {1: batch}, tuple({0: batch} for _ in states))
    _part(step, example, sources[1], names, shapes)
    encoding, stepping = (onnx.load(str(source), load_external_data=False) for source in sources)
    streamed.write(joined(encoding, stepping, step, spec), path.parent, path)
    for left in (*sources, *path.parent.glob("*.onnx.data")):
        left.unlink()


def _part(module: Any, example: tuple[Any, ...], path: Path, names: tuple[list[str], list[str]], shapes: Any) -> None:
    """By the dynamo exporter: the older one declares constants as symbols here. Weights go to a file beside it, a gigabyte that is not held."""
    torch.onnx.export(
        module.eval(),
        example,
        str(path),
        dynamo=True,
        opset_version=graph.OPSET,
        input_names=names[0],
        output_names=names[1],
        dynamic_shapes=shapes,
        external_data=True,
        verbose=False,
    )
    gc.collect()


def _lengths(path: Path, names: Sequence[str]) -> list[int]:
    """S of each cross tensor, as the exporter declared it."""
    outputs = {value.name: value.type.tensor_type.shape.dim for value in onnx.load(str(path), load_external_data=False).graph.output}
    return [int(outputs[name][2].dim_value) for name in names]


def joined(encoder: onnx.ModelProto, step: onnx.ModelProto, module: Step, spec: ModelSpec) -> onnx.ModelProto:
    """One graph: the encoder, then a Loop whose body is the step. Weights stay outside of the body, which may use outer names."""
    pixels, tokens = spec.inputs[0].name, spec.outputs[0].name
    renamed = {value.name: value.name for value in (*encoder.graph.input, *encoder.graph.output)}
    _prefix(encoder.graph, ENCODER, renamed)
    cross = {name: name for name in renamed if name != pixels}
    _prefix(step.graph, STEP, cross)
    body = _body(step.graph)
    rules = module.rules
    shape = (2 * module.layers, module.heads, rules.length, module.head_dim)
    start = np.full((1, rules.length), rules.pad, np.int64)
    start[0, 0] = rules.start
    constants = {
        "trips": np.array(rules.length - 1),
        "first": np.array(True),
        "row": start,
        "zero": np.array([0]),
        "one": np.array([1]),
        "length": np.array([rules.length]),
        "layers": np.array(shape[:1]),
        "inner": np.array(shape[1:]),
    }
    nodes = [
        helper.make_node("Shape", [pixels], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "length"], ["tokens_shape"], axis=0),
        helper.make_node("Expand", ["row", "tokens_shape"], ["tokens_0"]),
        helper.make_node("ConstantOfShape", ["rows"], ["done_0"], value=helper.make_tensor("no", onnx.TensorProto.BOOL, [1], [False])),
        helper.make_node("Concat", ["layers", "rows", "inner"], ["past_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["past_shape"], ["past_0"], value=helper.make_tensor("zeros", onnx.TensorProto.FLOAT, [1], [0.0])),
        helper.make_node("Loop", ["trips", "first", "tokens_0", "done_0", "past_0"], ["tokens_n", "done_n", "past_n"], body=body, name="greedy"),
        helper.make_node("Cast", ["tokens_n"], [tokens], to=onnx.TensorProto.INT32),
    ]
    result = onnx.ModelProto(ir_version=min(encoder.ir_version, graph.MAX_IR_VERSION), producer_name="kizu_fast")
    result.opset_import.extend([helper.make_opsetid("", graph.OPSET)])
    result.graph.name = spec.name
    result.graph.node.extend([*encoder.graph.node, *nodes])
    result.graph.input.append(helper.make_tensor_value_info(pixels, onnx.TensorProto.UINT8, [graph.BATCH, *spec.inputs[0].shape]))
    result.graph.output.append(helper.make_tensor_value_info(tokens, onnx.TensorProto.INT32, [graph.BATCH, rules.length]))
    for part in (encoder.graph, step.graph):
        result.graph.initializer.extend(part.initializer)
    used = {name for node in nodes for name in node.input}
    result.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items() if name in used)
    return result


def _body(step: onnx.GraphProto) -> onnx.GraphProto:
    """The step as a Loop's body: (trip number, condition, tokens, done, past) to (condition, tokens, done, past)."""
    inputs = [value for value in step.input if value.name.startswith(STEP)]
    condition = helper.make_tensor_value_info(f"{STEP}condition", onnx.TensorProto.BOOL, [])
    return helper.make_graph(step.node, "step", [inputs[0], condition, *inputs[1:]], list(step.output))


def _prefix(part: onnx.GraphProto, prefix: str, kept: dict[str, str]) -> None:
    """Give every value and node of a graph a name of its own. kept: names that stay."""

    def name(old: str) -> str:
        return kept.get(old, prefix + old) if old else old

    def rename(nodes: Sequence[onnx.NodeProto]) -> None:
        for node in nodes:
            node.name = prefix + node.name
            node.input[:] = [name(each) for each in node.input]
            node.output[:] = [name(each) for each in node.output]
            node.ClearField("metadata_props")
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    rename(attribute.g.node)

    rename(part.node)
    for values in (part.input, part.output, part.initializer):
        for value in values:
            value.name = name(value.name)
    del part.value_info[:]
