"""Fixtures of the tests that need the original libraries. They run in .venv-export and are not collected elsewhere."""

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AT_HAND = importlib.util.find_spec("torch") is not None
collect_ignore_glob = [] if AT_HAND else ["test_*.py"]

if AT_HAND:
    from export.quiet import quiet

    with quiet():  # they warn at import, and warnings are errors here
        import open_clip
        import torch
        import transformers
        import ultralytics  # noqa: F401
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    from export import run
    from export.download import Downloader
    from export.strings import texts

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.export)
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # theirs, not ours
            item.add_marker(pytest.mark.timeout(900))  # whichever test comes first waits for the exports


TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP that open_clip knows by name and that exports in seconds."""
    path = tmp_path_factory.mktemp("architecture") / "Tiny-CLIP.json"
    path.write_text(json.dumps(TINY))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture(scope="session")
def tiny_weights(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with a checkpoint of it under the tag `mine`."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "open_clip").mkdir()
    torch.manual_seed(5)
    torch.save(open_clip.create_model(tiny, load_weights=False).state_dict(), folder / "open_clip" / f"{tiny}_mine.pt")
    return folder


@pytest.fixture(scope="session")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny CLIP whose text tower and tokenizer are of the hub's kind, and a folder that has the tokenizer's files."""
    home = tmp_path_factory.mktemp("multilingual")
    transformers.XLMRobertaConfig(vocab_size=1200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64).save_pretrained(
        home / "tower"
    )
    text = {
        "hf_model_name": str(home / "tower"),
        "hf_tokenizer_name": "tiny/xlm",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 24,
    }
    (home / "Tiny-XLM.json").write_text(json.dumps({**TINY, "text_cfg": text}))
    open_clip.add_model_config(home / "Tiny-XLM.json")
    rules = Tokenizer(models.Unigram())
    rules.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    rules.train_from_iterator(texts(600), trainers.UnigramTrainer(vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False))
    rules.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.XLMRobertaTokenizerFast(tokenizer_object=rules).save_pretrained(home / "open_clip" / "tokenizers" / "tiny--xlm")
    return "Tiny-XLM", home


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Any]:
    """A call of the export in this process; said holds the lines that a user would see."""

    def make(source: str | Path | None, **other: Any) -> Any:
        said: list[str] = []
        made = run.Job(tmp_path / "repository", tmp_path / "cache", source, Downloader(), said.append)
        return dataclasses.replace(made, **other)

    return make
