"""The export of CLIP on architectures that take seconds: folders of weights, other preprocessing, towers of the hub, what does not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg

from export import clip as clips
from export import graph, parity, run, tokens
from export.quiet import quiet
from export.sources.clip import towers as clip_towers
from export.strings import texts
from export.wanted import Original
from export.weights import Weights
from kizu_fast.errors import ConfigError
from kizu_fast.models.clip_text import load_tokenizer


def of(path: Path) -> Weights:
    return Weights(path, "folder", "ab" * 32, "MIT")


def test_a_folder_s_checkpoint_becomes_two_towers_in_one_space(tiny: str, tiny_weights: Path, job: Callable[..., Any]) -> None:
    work = job(tiny_weights)
    outcome = run.export(clip_towers(tiny, "mine"), work)
    assert outcome.failures == {}
    image, text = outcome.manifests["clip-tiny-clip-mine-image"], outcome.manifests["clip-tiny-clip-mine-text"]
    assert image["spec"]["space"] == text["spec"]["space"] == f"open_clip/Tiny-CLIP/mine/p1/{image['weights_sha256'][:8]}"
    assert (image["source"], image["spec"]["inputs"][0]["shape"]) == ("folder", [64, 64, 3])
    assert (image["spec"]["outputs"][0]["shape"], text["spec"]["inputs"][0]["shape"]) == ([32], [20])
    assert image["parity"]["centred_cosine_min"] >= 0.9999
    assert sorted(text["files"]) == ["1/model.onnx", "config.pbtxt", "tokenizer.json"]
    assert set(image["created_with"]) >= {"torch", "open_clip_torch", "onnx"}


def test_the_exported_towers_are_the_checkpoint_s_in_the_original_library(tiny: str, tiny_weights: Path, job: Callable[..., Any]) -> None:
    work = job(tiny_weights)
    run.export(clip_towers(tiny, "mine"), work)
    with quiet():
        original = open_clip.create_model(tiny, pretrained=str(tiny_weights / "open_clip" / f"{tiny}_mine.pt")).eval()
        tokenizer = open_clip.get_tokenizer(tiny)
    folder = work.repository / "clip-tiny-clip-mine-text"
    rows = [load_tokenizer(folder / "tokenizer.json", 20)(text) for text in parity.TEXTS]
    ours = graph.Session(folder / "1" / "model.onnx").run({"tokens": np.stack(rows)})["text_features"]
    with torch.no_grad():
        theirs = original.encode_text(tokenizer(list(parity.TEXTS)), normalize=True).numpy()
    assert np.abs(ours - theirs).max() < 1e-5


def test_nothing_changed_means_nothing_is_done_and_other_weights_mean_all_is(
    tiny: str, tiny_weights: Path, job: Callable[..., Any], tmp_path: Path
) -> None:
    work = job(tiny_weights)
    towers = clip_towers(tiny, "mine")[:1]
    first = run.export(towers, work).manifests
    assert run.export(towers, work).manifests == first
    assert run.export(towers, job(None)).manifests == first  # what is installed is trained: no download is tried
    other = tmp_path / "other" / "open_clip"
    other.mkdir(parents=True)
    torch.manual_seed(6)
    torch.save(open_clip.create_model(tiny, load_weights=False).state_dict(), other / f"{tiny}_mine.pt")
    second = run.export(towers, job(other.parent)).manifests
    name = towers[0].name
    assert second[name]["spec"]["space"] != first[name]["spec"]["space"]
    assert second[name]["inputs_hash"] != first[name]["inputs_hash"]


def test_official_weights_asked_for_by_name_replace_those_of_a_folder(tiny: str, tiny_weights: Path, job: Callable[..., Any]) -> None:
    run.export(clip_towers(tiny, "mine")[:1], job(tiny_weights))
    outcome = run.export(clip_towers(tiny, "mine")[:1], job("official"))
    assert "open_clip has no weights Tiny-CLIP/mine" in outcome.failures["clip-tiny-clip-mine-image"]


def test_random_weights_are_the_same_ones_each_time_and_not_those_of_the_folder(tiny: str, job: Callable[..., Any], tmp_path: Path) -> None:
    towers = clip_towers(tiny, "random")[:1]
    first, second = (run.export(towers, job("random", repository=tmp_path / name)).manifests["clip-tiny-clip-random-image"] for name in "ab")
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["spec"]["space"].startswith("open_clip/Tiny-CLIP/random/p1/")
    assert first["source"] == "random"


def test_a_text_tower_of_the_hub_is_exported_with_its_own_tokenizer(multilingual: tuple[str, Path], job: Callable[..., Any]) -> None:
    name, home = multilingual
    work = job("random", cache=home)
    outcome = run.export(clip_towers(name, "random"), work)
    assert outcome.failures == {}
    text = outcome.manifests["clip-tiny-xlm-random-text"]
    assert (text["spec"]["preprocessing"], text["spec"]["inputs"][0]["shape"]) == ("p1-whitespace", [24])
    assert text["parity"]["centred_cosine_min"] >= 0.9999
    with quiet():
        tokenizer = open_clip.tokenizer.HFTokenizer(str(home / "open_clip" / "tokenizers" / "tiny--xlm"), context_length=24)
        unequal = tokens.unequal(tokenizer, work.repository / "clip-tiny-xlm-random-text" / "tokenizer.json", "p1-whitespace", texts(300))
    # tokens of CLIP's own vocabulary, written out: this tokenizer knows them as tokens too, a real one of the hub does not
    assert [text for text in unequal if "_of_text>" not in text.lower()] == []


def test_without_its_tokenizer_the_text_tower_fails_alone(multilingual: tuple[str, Path], job: Callable[..., Any]) -> None:
    name, _ = multilingual
    work = job("random")
    work.downloader._silent["huggingface.co"] = "ConnectError"  # what an unreachable hub leaves behind
    outcome = run.export(clip_towers(name, "random"), work)
    assert list(outcome.manifests) == ["clip-tiny-xlm-random-image"]
    assert "the tokenizer tiny/xlm could not be downloaded from huggingface.co" in outcome.failures["clip-tiny-xlm-random-text"]


@pytest.mark.parametrize("hub", ["xlm-roberta-base", "xlm-roberta-large", "roberta-base"])
def test_the_architectures_of_open_clip_s_roberta_towers_are_committed(hub: str) -> None:
    folder = clips.ARCHITECTURES / hub
    with quiet():
        from transformers import AutoConfig  # noqa: PLC0415  # slow

        config = AutoConfig.from_pretrained(folder)
    sizes = {"xlm-roberta-base": (250002, 768, 12), "xlm-roberta-large": (250002, 1024, 24), "roberta-base": (50265, 768, 12)}
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == sizes[hub]
    assert (config.pad_token_id, config.max_position_embeddings) == (1, 514)


def test_an_unknown_text_tower_says_where_its_architecture_belongs() -> None:
    with pytest.raises(ConfigError, match=r"text tower facebook/nllb has no architecture .* config.json"):
        clips._local_text_tower({"text_cfg": {"hf_model_name": "facebook/nllb"}})


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="open_clip knows no model 'ViT-Z'"):
        clips.load(Original("clip", "ViT-Z", "x"), Weights(None, "random", None, ""))


def test_weights_of_another_architecture_name_expected_and_found(tiny: str, tiny_weights: Path, tmp_path: Path) -> None:
    state = torch.load(tiny_weights / "open_clip" / f"{tiny}_mine.pt")
    state["visual.conv1.weight"] = torch.zeros(64, 3, 8, 8)
    del state["text_projection"]
    torch.save(state, tmp_path / "odd.pt")
    pattern = r"odd.pt does not fit Tiny-CLIP: visual.conv1.weight expected \[64, 3, 16, 16\], found \[64, 3, 8, 8\].*expected text_projection \[64, 32\] is missing"
    with pytest.raises(ConfigError, match=pattern):
        clips.load(Original("clip", tiny, "mine"), of(tmp_path / "odd.pt"))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_one_line(tiny: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad.pt (is no checkpoint|does not fit)") as caught:
        clips.load(Original("clip", tiny, "mine"), of(tmp_path / "bad.pt"))
    assert "\n" not in str(caught.value)


def test_a_torchscript_archive_as_openai_publishes_it_is_read(tiny: str, tiny_weights: Path, tmp_path: Path) -> None:
    with quiet():
        model = open_clip.create_model(tiny, pretrained=str(tiny_weights / "open_clip" / f"{tiny}_mine.pt")).eval()
        torch.jit.trace(model, (torch.zeros(1, 3, 64, 64), torch.zeros(1, 20, dtype=torch.long)), check_trace=False).save(str(tmp_path / "jit.pt"))
    loaded = clips.load(Original("clip", tiny, "mine"), of(tmp_path / "jit.pt"))
    assert clips.tensors_digest(loaded.model) == clips.tensors_digest(model)


def test_a_torchscript_archive_of_something_else_is_refused(tiny: str, tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "jit.pt"))
    with pytest.raises(ConfigError, match="does not fit Tiny-CLIP") as caught:
        clips.load(Original("clip", tiny, "mine"), of(tmp_path / "jit.pt"))
    assert "\n" not in str(caught.value)


def test_openai_weights_get_the_activation_they_were_trained_with() -> None:
    openai = clips.load(Original("clip", "ViT-B-32", "openai"), Weights(None, "random", None, ""))
    assert any(type(module).__name__ == "QuickGELU" for module in openai.model.modules())


@pytest.mark.parametrize(
    ("cfg", "steps"),
    [
        (PreprocessCfg(), "p1"),
        (PreprocessCfg(resize_mode="squash"), "p1-squash-bicubic"),
        (PreprocessCfg(resize_mode="squash", interpolation="bilinear"), "p1-squash-bilinear"),
        (PreprocessCfg(resize_mode="longest"), "p1-longest-bicubic"),
    ],
)
def test_the_model_s_own_preprocessing_is_served(cfg: PreprocessCfg, steps: str) -> None:
    from open_clip.transform import image_transform_v2  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from kizu_fast.models.clip import preprocess  # noqa: PLC0415

    assert clips._steps(cfg, Original("clip", "X")) == steps
    transform = image_transform_v2(PreprocessCfg(**{**vars(cfg), "size": 96, "mean": (0, 0, 0), "std": (1, 1, 1)}), is_train=False)
    for photo in parity.pictures(6):
        theirs = transform(Image.fromarray(photo.pixels)).permute(1, 2, 0).numpy() * 255
        assert np.abs(preprocess(photo, 96, steps) - theirs).max() < 0.5


@pytest.mark.parametrize("cfg", [PreprocessCfg(resize_mode="longest", fill_color=255), PreprocessCfg(interpolation="random")])
def test_preprocessing_that_is_not_served_is_refused(cfg: PreprocessCfg) -> None:
    with pytest.raises(ConfigError, match="which is not served"):
        clips._steps(cfg, Original("clip", "X"))


def test_a_square_input_is_needed() -> None:
    assert clips._side((64, 64), Original("clip", "X")) == 64
    with pytest.raises(ConfigError, match="only square inputs"):
        clips._side((64, 32), Original("clip", "X"))
