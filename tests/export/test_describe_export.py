"""The export of captioners on tiny ones of the true structure: token for token what the original's generate() writes, whatever the batch."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import captioners
import numpy as np
import pytest
import torch
from PIL import Image

from export import configs, describe, graph, run
from export.caption_loop import Rules
from export.quiet import quiet
from export.sources import describe as sources
from export.wanted import Wanted
from export.weights import Weights
from kizu_fast import specs
from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.describe import Captioner
from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.models import caption as captions
from kizu_fast.models.captioners import CAPTIONERS, caption_name
from kizu_fast.specs import ModelSpec

PICTURES = 20


class Exported(NamedTuple):
    """A tiny captioner, its original, and what both say of the same pictures."""

    home: Path  # the weights folder
    repository: Path
    manifest: dict[str, Any]
    spec: ModelSpec
    loaded: describe.Captioner
    rules: Rules
    session: graph.Session
    pixels: np.ndarray  # (PICTURES, side, side, 3) uint8
    theirs: np.ndarray  # (PICTURES, T)
    ours: np.ndarray

    def tokens(self, pixels: np.ndarray) -> np.ndarray:
        return self.session.run({"pixels": np.ascontiguousarray(pixels)})["caption_tokens"]


def installed(wanted: Wanted, job: run.Job) -> str | None:
    """What the installed model was made of, None when it would be made anew."""
    manifest = run.current(wanted, job)
    return None if manifest is None else str(manifest["inputs_hash"])


def load(home: Path, wanted: Wanted) -> describe.Captioner:
    folder = sources.in_folder(wanted.original, home)
    assert folder is not None
    with quiet():
        return describe.load(wanted.original, Weights(folder, "folder", "ab" * 32, "MIT"))


@pytest.fixture(scope="session", params=["florence2", "vit-gpt2"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Through the whole export, parity with the original and, for ViT-GPT2, optimum's own captions included."""
    model, home = request.param, tmp_path_factory.mktemp(request.param)
    with quiet(), torch.no_grad():
        (captioners.florence if model == "florence2" else captioners.vit_gpt2)(home)
    wanted = sources.captioner(model, "caption")
    job = run.Job(home / "repository", home / "cache", home, run.Downloader(), lambda _: None)
    outcome = run.export([wanted], job)
    assert outcome.failures == {}
    spec = ModelRepository(job.repository).spec(wanted.name)
    side = spec.inputs[0].shape[0]
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3)).astype(np.uint8)
    loaded = load(home, wanted)
    rules = describe.rules_of(loaded.generation, spec.outputs[0].shape[0])
    with quiet(), torch.no_grad():
        theirs = describe.originals(loaded, describe.prompt_of(loaded, "caption")[1], rules)(pixels)
    session = graph.Session(job.repository / wanted.name / "1" / "model.onnx")
    ours = session.run({"pixels": pixels})["caption_tokens"]
    return Exported(home, job.repository, dict(outcome.manifests[wanted.name]), spec, loaded, rules, session, pixels, theirs, ours)


def test_twenty_captions_are_the_original_s_token_for_token(exported: Exported) -> None:
    assert exported.ours.dtype == np.int32
    assert np.array_equal(exported.ours, exported.theirs)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_caption_is_the_same_alone_and_in_any_batch(exported: Exported, size: int) -> None:
    parts = [exported.tokens(exported.pixels[i : i + size]) for i in range(0, PICTURES, size)]
    assert np.array_equal(np.concatenate(parts), exported.ours)


def test_rows_end_at_different_places_and_are_padded_from_there(exported: Exported) -> None:
    ends = []
    for row in exported.ours:
        found = np.flatnonzero(row[1:] == exported.rules.eos)
        ends.append(int(found[0]) + 1 if len(found) else -1)
        assert not len(found) or (row[found[0] + 2 :] == exported.rules.pad).all()
    assert len(set(ends)) >= 5
    assert -1 in ends  # and some reach the cap without an end


def test_every_row_begins_as_the_checkpoint_says(exported: Exported) -> None:
    assert (exported.ours[:, 0] == exported.rules.start).all()
    if exported.rules.forced_bos is not None:
        assert (exported.ours[:, 1] == exported.rules.forced_bos).all()


def test_no_row_holds_the_same_three_tokens_twice_where_that_is_forbidden(exported: Exported) -> None:
    if exported.rules.no_repeat_ngram == 0:
        assert exported.manifest["original"] == "vit-gpt2"
        return
    for row in exported.ours:
        words = row[row != exported.rules.pad]
        threes = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
        assert len(set(threes)) == len(threes)


def test_the_picture_is_looked_at(exported: Exported) -> None:
    assert len({tuple(row) for row in exported.ours}) >= PICTURES * 3 // 4


def test_rows_columns_and_colours_are_not_mixed_up(exported: Exported) -> None:
    """A transposed picture and one in BGR are other pictures, and the original says of them what the graph says."""
    odd = np.concatenate([exported.pixels[:4].transpose(0, 2, 1, 3), exported.pixels[:4, :, :, ::-1]])
    ours = exported.tokens(odd)
    with quiet(), torch.no_grad():
        prompt = describe.prompt_of(exported.loaded, "caption")[1]
        theirs = describe.originals(exported.loaded, prompt, exported.rules)(np.ascontiguousarray(odd))
    assert np.array_equal(ours, theirs)
    assert (ours != np.concatenate([exported.ours[:4]] * 2)).any(axis=1).sum() >= 6


@pytest.mark.parametrize("wrong", ["size", "type", "channels"])
async def test_another_size_or_type_is_refused(exported: Exported, wrong: str) -> None:
    pixels = {"size": exported.pixels[:1, :-8], "type": exported.pixels[:1].astype(np.float32), "channels": exported.pixels[:1, ..., :1]}[wrong]
    backend = OnnxBackend(ModelRepository(exported.repository))
    await backend.load(exported.spec)
    with pytest.raises(PermanentError, match="the graph refuses its input"):
        await backend.infer(exported.spec, {"pixels": np.ascontiguousarray(pixels)})
    await backend.close()


def test_the_graph_declares_a_free_batch_and_a_fixed_length(exported: Exported) -> None:
    facts = graph.check(exported.repository / exported.spec.name / "1" / "model.onnx", exported.spec)
    assert facts["opset"] == graph.OPSET
    assert exported.spec.outputs[0].shape == (24,)
    assert (exported.spec.apart, exported.spec.cpu_batch) == (True, 1)


def test_the_run_time_loads_it_and_says_the_same(exported: Exported) -> None:
    async def main() -> np.ndarray:
        backend = OnnxBackend(ModelRepository(exported.repository))
        await backend.load(exported.spec)  # compares every tensor with the spec and proves it by an inference
        outputs = await backend.infer(exported.spec, {"pixels": exported.pixels[:2]})
        await backend.close()
        return outputs["caption_tokens"]

    assert np.array_equal(asyncio.run(main()), exported.ours[:2])


def test_the_run_time_keeps_no_memory_for_its_activations(exported: Exported) -> None:
    """Arena, memory pattern and packed weights cost 430 MB at true size and save no time; every other model keeps them."""
    backend, path = OnnxBackend(ModelRepository(exported.repository)), exported.repository / exported.spec.name / "1" / "model.onnx"
    sessions = [backend._session(replace(exported.spec, apart=apart), path, [("CPUExecutionProvider", {})]) for apart in (True, False)]
    options = [session.get_session_options() for session in sessions]
    assert [(option.enable_mem_pattern, option.enable_cpu_mem_arena) for option in options] == [(False, False), (True, True)]
    assert options[0].get_session_config_entry("session.disable_prepacking") == "1"


def test_only_the_graph_is_left_of_what_was_written_on_the_way(exported: Exported) -> None:
    assert [path.name for path in (exported.repository / exported.spec.name / "1").iterdir()] == ["model.onnx"]


def test_a_caption_cut_by_the_cap_is_text_too(exported: Exported) -> None:
    captioner = Captioner(exported.spec, captions.load_rules(exported.repository / exported.spec.name / "tokenizer.json"))
    side = exported.spec.inputs[0].shape[0]
    finish = captioner.prepare(Photo(exported.pixels[0], side, side)).finish
    texts = [finish({"caption_tokens": row}).text for row in exported.ours]
    cut = [text for text, row in zip(texts, exported.ours, strict=True) if exported.rules.eos not in row[1:]]
    assert cut
    assert all(isinstance(text, str) for text in texts)
    whole = exported.loaded.tokenizer.decode(list(exported.ours[0]), skip_special_tokens=True)
    assert " ".join(whole.split()).startswith(texts[0])


def test_the_manifest_says_what_was_asked_of_which_checkpoint(exported: Exported) -> None:
    manifest = exported.manifest
    checkpoint = sources.CHECKPOINTS[manifest["original"]]
    assert (manifest["checkpoint"], manifest["revision"], manifest["licence"]) == (checkpoint.hub, checkpoint.revision, checkpoint.licence)
    assert (manifest["length"], manifest["source"]) == (24, "folder")
    assert manifest["prompt"] == ("What does the image describe?" if checkpoint.kind == "florence-2" else "")
    assert len(manifest["weights_sha256"]) == 64
    assert sorted(manifest["files"]) == ["1/model.onnx", "config.pbtxt", "tokenizer.json"]
    assert manifest["parity"]["equal_captions"] == 1
    assert manifest["export_peak_rss_mb"] > 0
    assert ("equal_captions_by_optimum" in manifest["parity"]) == (checkpoint.kind == "vit-gpt2")
    assert manifest["parity"].get("equal_captions_by_optimum", 1) == 1


def test_nothing_changed_means_nothing_is_done(exported: Exported) -> None:
    wanted = sources.captioner("florence2" if exported.manifest["prompt"] else "vit-gpt2", "caption")
    job = run.Job(exported.repository, exported.home / "cache", exported.home, run.Downloader(), lambda _: None)
    assert installed(wanted, job) == exported.manifest["inputs_hash"]


def test_the_prompt_is_a_part_of_the_graph(exported: Exported) -> None:
    """Another prompt in the same checkpoint gives other captions, which is why every level of detail is a model of its own."""
    if not exported.manifest["prompt"]:
        with pytest.raises(KeyError):
            exported.loaded.checkpoint.lengths["detailed"]
        return
    _, ids = describe.prompt_of(exported.loaded, "detailed")
    with quiet(), torch.no_grad():
        other = describe.originals(exported.loaded, ids, exported.rules)(exported.pixels)
    assert (other != exported.ours).any()


# ---------------------------------------------------------------- checkpoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny ViT-GPT2's weights folder, to be spoilt."""
    with quiet(), torch.no_grad():
        captioners.vit_gpt2(tmp_path)
    return tmp_path / sources.CHECKPOINTS["vit-gpt2"].folder


def test_generation_settings_are_the_checkpoint_s_own(folder: Path) -> None:
    written = {"decoder_start_token_id": 5, "eos_token_id": [6], "pad_token_id": 7, "no_repeat_ngram_size": 2}
    (folder / "generation_config.json").write_text(json.dumps(written))
    loaded = load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))
    assert describe.rules_of(loaded.generation, 9) == Rules(length=9, start=5, eos=6, pad=7, no_repeat_ngram=2)


def test_a_checkpoint_that_states_no_generation_settings_gets_those_of_its_family(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    loaded = load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))
    assert describe.rules_of(loaded.generation, 9).start == 50256


def test_a_checkpoint_that_brings_code_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    (folder / "evil.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="brings code of its own, which is never run; take nlpconnect/"):
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))


def test_tensors_of_something_else_are_refused_in_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match="is no checkpoint of nlpconnect") as caught:
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415  # torch

    tensors = load_file(folder / "model.safetensors")
    del tensors["decoder.transformer.h.1.ln_2.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"does not fit .*lacks decoder.transformer.h.1.ln_2.weight"):
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))


def test_a_decoder_of_another_kind_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["decoder"]["scale_attn_by_inverse_layer_idx"] = True
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="is not served"):
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))


def test_without_tokenizer_json_it_is_made_from_vocabulary_and_merges(folder: Path) -> None:
    before = captions.load_rules(folder / "tokenizer.json")
    written = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(written["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in written["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer.json").unlink()
    with quiet():
        after = describe.read_tokenizer(sources.CHECKPOINTS["vit-gpt2"], folder)
    text = "Describe what is shown"
    assert after.encode(text).ids == before.encode(text).ids
    assert after.decode([0, *after.encode(text).ids, 0], skip_special_tokens=True) == text
    assert captions.special_ids(after) == {0}


def test_without_any_tokenizer_the_files_are_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"neither tokenizer.json nor vocab.json with merges.txt"):
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))


def test_broken_settings_name_their_file(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"preprocessor_config.json is no JSON"):
        load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))


@pytest.mark.parametrize("odd", [{"do_center_crop": True}, {"size": {"height": 3, "width": 4}}, {"size": {"shortest_edge": 3}}, {"resample": 1}])
def test_pictures_that_are_cropped_or_not_square_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="only whole pictures stretched to a square"):
        describe.picture_of({**sources.CHECKPOINTS["vit-gpt2"].picture, **odd}, "vit-gpt2")


def test_bart_s_own_tokenizer_must_read_the_prompt_as_the_model_was_trained(folder: Path) -> None:
    loaded = load(folder.parents[1], sources.captioner("vit-gpt2", "caption"))
    large = describe.stand_in_tokenizer(describe.BART_VOCABULARY + 10)
    florence = describe.Captioner(None, sources.CHECKPOINTS["florence-2-base"], loaded.picture, {}, large, "", trained=True)
    with pytest.raises(ConfigError, match=r"Florence-2 was trained with \[0, 2264"):
        describe.prompt_of(florence, "caption")


def test_untrained_captions_show_that_they_mean_nothing() -> None:
    rules = describe.stand_in_tokenizer(60)
    assert rules.decode([0, 5, 6, 2, 59], skip_special_tokens=True) == "word5 word6"


# ---------------------------------------------------------------- preprocessing, against the processors


@pytest.mark.parametrize(("model", "processor"), [("florence-2-base", "CLIPImageProcessor"), ("vit-gpt2", "ViTImageProcessor")])
def test_pictures_are_prepared_as_the_library_s_own_processor_does(shared: Path, model: str, processor: str) -> None:
    """Five photos, largest difference of any pixel: none, since both resize by Pillow."""
    import transformers  # noqa: PLC0415  # slow

    picture = describe.picture_of(sources.CHECKPOINTS[model].picture, model)
    with quiet():
        theirs = getattr(transformers, processor)(
            size={"height": picture.side, "width": picture.side},
            resample=3 if picture.steps.endswith("bicubic") else 2,
            do_center_crop=False,
            image_mean=picture.mean,
            image_std=picture.std,
        )
    photos = sorted((shared / "images" / "photos").rglob("*.jpg"))[:5]
    assert len(photos) == 5
    for path in photos:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        ours = describe.planes(captions.preprocess(Photo(pixels, pixels.shape[1], pixels.shape[0]), picture.side, picture.steps)[None], picture)
        wanted = theirs(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        assert (ours - wanted).abs().max() < 1e-5


def test_the_command_takes_the_operation_s_word(exported: Exported, job: Callable[..., Any]) -> None:
    """A spoilt graph is built anew; everything else is current."""
    copy = job(exported.home).repository
    shutil.copytree(exported.repository, copy)
    wanted = sources.captioner("florence2" if exported.manifest["prompt"] else "vit-gpt2", "caption")
    assert installed(wanted, job(exported.home)) == exported.manifest["inputs_hash"]
    (copy / wanted.name / "1" / "model.onnx").write_bytes(b"")
    assert installed(wanted, job(exported.home)) is None


@pytest.mark.parametrize("model", list(CAPTIONERS))
def test_the_committed_configurations_are_of_the_published_checkpoints(model: str) -> None:
    words = CAPTIONERS[model]
    checkpoint = sources.CHECKPOINTS[words.stem]
    picture = describe.picture_of(checkpoint.picture, words.stem)
    length, detail = checkpoint.lengths[words.details[0]], words.details[0]
    served = specs.caption(caption_name(model, detail), side=picture.side, length=length, preprocessing=picture.steps)
    assert served in configs.default_specs()
