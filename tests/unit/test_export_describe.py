"""export/sources/describe.py: which captioners the words of --models mean, and how a checkpoint comes from the hub. Runs without the original libraries."""

from pathlib import Path

import httpx
import pytest

from export import sources
from export.digests import folder_digest
from export.download import Downloader, NotThere
from export.sources import describe
from export.wanted import Original
from export.weights import digest_of
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings
from kizu_fast.specs import Family

HUB_FLORENCE = "/florence-community/Florence-2-base/resolve/main/"
BYTES = b"tensors"


def settings(**other: object) -> Settings:
    return Settings(_env_file=None, **other)


def names(words: list[str], *, random: bool = False, **other: object) -> list[str]:
    return [wanted.name for wanted in sources.chosen(words, settings(**other), random=random)]


@pytest.mark.parametrize(
    ("model", "detail", "expected"),
    [
        ("florence2", "caption", "florence-2-base-caption"),
        ("florence2", "more", "florence-2-base-more"),
        ("vit-gpt2", "caption", "vit-gpt2-caption"),
    ],
)
def test_the_operation_s_word_means_the_captioner_of_the_settings(model: str, detail: str, expected: str) -> None:
    assert names(["describe"], describe_model=model, describe_detail=detail) == [expected]
    assert names(["describe"], random=True, describe_model=model, describe_detail=detail) == [f"{expected}-random"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("florence2", "florence-2-base-caption"),
        ("vit-gpt2", "vit-gpt2-caption"),
        ("florence-2-base-detailed", "florence-2-base-detailed"),
        ("florence-2-base-more-random", "florence-2-base-more-random"),
        ("vit-gpt2-caption-random", "vit-gpt2-caption-random"),
    ],
)
def test_a_captioner_is_named_by_its_folder_too(word: str, expected: str) -> None:
    assert names([word]) == [expected]


def test_levels_of_detail_share_their_weights() -> None:
    models = [describe.captioner("florence2", detail) for detail in ("caption", "detailed", "more")]
    assert {wanted.original for wanted in models} == {Original("describe", "florence-2-base")}
    assert [describe.detail_of(wanted.name) for wanted in models] == ["caption", "detailed", "more"]
    assert {wanted.family for wanted in models} == {Family.CAPTION}


def test_the_untrained_twin_keeps_its_detail() -> None:
    twin = describe.untrained(describe.captioner("florence2", "more"))
    assert (twin.name, twin.original.random, describe.detail_of(twin.name)) == ("florence-2-base-more-random", True, "more")


def test_a_plain_export_brings_a_captioner_only_when_captions_are_asked_for() -> None:
    assert not any(wanted.family is Family.CAPTION for wanted in sources.standard(settings(), random=False))
    asked = settings(KIZU_OPERATIONS=(Operation.EMBEDDING, Operation.DESCRIBE))
    assert "florence-2-base-caption" in [wanted.name for wanted in sources.standard(asked, random=False)]


@pytest.mark.parametrize("word", ["llava", "florence-2-base-short", "vit-gpt2-more"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model '{word}'"):
        names([word])


@pytest.mark.parametrize("tensors", ["model.safetensors", "pytorch_model.bin"])
def test_a_checkpoint_lies_in_a_folder_named_as_on_the_hub(tmp_path: Path, tensors: str) -> None:
    original = Original("describe", "vit-gpt2")
    folder = tmp_path / describe.candidates(original)[0]
    assert folder.name == "nlpconnect--vit-gpt2-image-captioning"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert describe.in_folder(original, tmp_path) is None
    (folder / tensors).write_bytes(BYTES)
    assert describe.in_folder(original, tmp_path) == folder


def test_every_file_of_a_checkpoint_counts_for_its_digest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = digest_of(tmp_path)
    assert before == folder_digest(tmp_path)
    (tmp_path / "generation_config.json").write_text("{}")
    assert digest_of(tmp_path) != before


class Hub:
    """The hub as far as a checkpoint needs it. has: the files that it has."""

    def __init__(self, *has: str) -> None:
        self.has, self.asked = has, list[str]()

    def downloader(self) -> Downloader:
        return Downloader(httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith(HUB_FLORENCE)
        name = request.url.path.removeprefix(HUB_FLORENCE)
        self.asked.append(name)
        return httpx.Response(200, content=BYTES) if name in self.has else httpx.Response(404)


def test_a_checkpoint_comes_from_the_hub_file_by_file_and_without_code(tmp_path: Path) -> None:
    hub = Hub("config.json", "model.safetensors", "tokenizer.json", "modeling_florence2.py")
    original = Original("describe", "florence-2-base")
    folder = describe.official(original, tmp_path, hub.downloader())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert hub.asked[-1] == "config.json"  # it says that the folder is whole
    assert not [name for name in hub.asked if name.endswith(".py")]
    hub.asked.clear()
    assert describe.official(original, tmp_path, hub.downloader()) == folder
    assert hub.asked == []


def test_older_checkpoints_have_their_tensors_in_another_file(tmp_path: Path) -> None:
    hub = Hub("config.json", "pytorch_model.bin")
    folder = describe.official(Original("describe", "florence-2-base"), tmp_path, hub.downloader())
    assert (folder / "pytorch_model.bin").read_bytes() == BYTES


def test_a_checkpoint_without_tensors_is_not_there(tmp_path: Path) -> None:
    original = Original("describe", "florence-2-base")
    with pytest.raises(NotThere, match=r"404 for .*pytorch_model.bin"):
        describe.official(original, tmp_path, Hub("config.json").downloader())
    assert describe.in_folder(original, tmp_path) is None


@pytest.mark.parametrize(("model", "licence"), [("florence-2-base", "MIT"), ("vit-gpt2", "Apache-2.0")])
def test_the_licence_is_stated(model: str, licence: str) -> None:
    assert describe.licence(Original("describe", model)) == licence


def test_prompts_begin_and_end_as_bart_wants() -> None:
    assert [len(ids) for _, ids in describe.PROMPTS.values()] == [8, 13, 14]
    assert all(ids[0] == 0 and ids[-1] == 2 for _, ids in describe.PROMPTS.values())
