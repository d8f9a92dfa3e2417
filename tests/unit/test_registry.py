"""The registry: the documented calls work as documented, and loading is lazy, once, and thread-safe."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.registry import ModelRegistry, ModelType, Registry


class MyModel:
    """A model as the documentation's steps write one."""

    def __init__(self, model_variant: str = "default") -> None:
        self._model_name = f"mymodel-{model_variant}"
        self._model: object | None = None
        self.loads = self.unloads = 0

    @property
    def model_name(self) -> str:
        return self._model_name

    def load_model(self) -> None:
        if self._model is not None:
            return
        self._model = object()
        self.loads += 1

    def unload_model(self) -> None:
        if self._model is not None:
            self._model = None
            self.unloads += 1


@pytest.fixture
def registry() -> Registry:
    fresh = Registry()
    fresh.register(ModelType.DETECTOR, "mymodel", MyModel, is_default=True)
    return fresh


def test_the_documented_calls_work_on_the_module_s_own_registry() -> None:
    ModelRegistry.register(ModelType.VLM, "mymodel", MyModel, is_default=True)
    try:
        assert ModelRegistry.get(ModelType.VLM).model_name == "mymodel-default"
        assert ModelRegistry.get(ModelType.VLM, "mymodel-large").model_name == "mymodel-large"
        assert ModelRegistry.unload(ModelType.VLM, "mymodel") is True
    finally:
        ModelRegistry.unload_all()


def test_no_import_fills_the_registry() -> None:
    assert ModelType.EMBEDDER not in ModelRegistry.available()
    assert ModelType.DETECTOR not in ModelRegistry.available()


def test_registering_loads_nothing() -> None:
    built: list[str] = []
    registry = Registry()

    registry.register(ModelType.OCR, "reader", lambda: built.append("reader"))

    assert built == []
    assert registry.loaded() == ()


def test_get_loads_once_and_gives_the_same_object(registry: Registry) -> None:
    first, second = registry.get(ModelType.DETECTOR), registry.get(ModelType.DETECTOR, "mymodel")

    assert first is second
    assert first.loads == 1
    assert registry.loaded() == ((ModelType.DETECTOR, "mymodel"),)


def test_the_default_is_the_one_that_claims_it(registry: Registry) -> None:
    registry.register(ModelType.DETECTOR, "other", lambda: "other")
    assert registry.default(ModelType.DETECTOR) == "mymodel"

    registry.register(ModelType.DETECTOR, "third", lambda: "third", is_default=True)
    assert registry.get(ModelType.DETECTOR) == "third"


def test_the_first_of_a_type_is_its_default_until_another_claims_it() -> None:
    registry = Registry()
    registry.register(ModelType.FACE, "small", lambda: "small")
    registry.register(ModelType.FACE, "large", lambda: "large")

    assert registry.get(ModelType.FACE) == "small"


def test_unload_frees_the_model_and_the_next_get_loads_a_new_one(registry: Registry) -> None:
    first = registry.get(ModelType.DETECTOR)

    assert registry.unload(ModelType.DETECTOR, "mymodel") is True
    assert first.unloads == 1
    assert registry.loaded() == ()
    assert registry.get(ModelType.DETECTOR) is not first


def test_unloading_what_is_not_loaded_says_so(registry: Registry) -> None:
    assert registry.unload(ModelType.DETECTOR, "mymodel") is False


def test_unload_all_frees_every_model(registry: Registry) -> None:
    registry.register(ModelType.OCR, "reader", MyModel)
    loaded = [registry.get(ModelType.DETECTOR), registry.get(ModelType.OCR)]

    registry.unload_all()

    assert [model.unloads for model in loaded] == [1, 1]
    assert registry.loaded() == ()


def test_a_variant_is_the_registered_model_built_with_the_rest_of_its_name(registry: Registry) -> None:
    large = registry.get(ModelType.DETECTOR, "mymodel-large")

    assert large.model_name == "mymodel-large"
    assert registry.get(ModelType.DETECTOR, "mymodel-large") is large
    assert registry.get(ModelType.DETECTOR) is not large


def test_a_factory_that_takes_no_variant_has_none() -> None:
    registry = Registry()
    registry.register(ModelType.OCR, "reader", lambda: "reader")

    with pytest.raises(ConfigError, match="no ocr 'reader-large' is registered; known are reader"):
        registry.get(ModelType.OCR, "reader-large")


def test_an_unknown_name_is_told_with_the_known_ones(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="no detector 'yolo' is registered; known are mymodel"):
        registry.get(ModelType.DETECTOR, "yolo")


def test_a_type_without_models_is_told() -> None:
    with pytest.raises(ConfigError, match="no model of type vlm is registered"):
        Registry().get(ModelType.VLM)


def test_a_type_of_one_s_own_is_any_string() -> None:
    registry = Registry()
    registry.register("aesthetics", "judge", lambda: "judge", is_default=True)

    assert registry.get("aesthetics") == "judge"
    assert registry.available() == {"aesthetics": ("judge",)}


def test_a_factory_that_failed_is_tried_again() -> None:
    answers = iter([ConfigError("the file is missing"), "loaded"])

    def factory() -> str:
        answer = next(answers)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    registry = Registry()
    registry.register(ModelType.OCR, "reader", factory)
    with pytest.raises(ConfigError, match="missing"):
        registry.get(ModelType.OCR)

    assert registry.get(ModelType.OCR) == "loaded"


def test_registering_a_name_again_replaces_and_frees_the_old_model(registry: Registry) -> None:
    old = registry.get(ModelType.DETECTOR)

    registry.register(ModelType.DETECTOR, "mymodel", lambda: "new")

    assert old.unloads == 1
    assert registry.get(ModelType.DETECTOR) == "new"


def test_available_lists_the_default_first(registry: Registry) -> None:
    registry.register(ModelType.DETECTOR, "other", MyModel)
    registry.register(ModelType.DETECTOR, "best", MyModel, is_default=True)

    assert registry.available() == {ModelType.DETECTOR: ("best", "mymodel", "other")}


def test_many_threads_load_a_model_once() -> None:
    built, ready = [], threading.Barrier(8)
    registry = Registry()
    registry.register(ModelType.EMBEDDER, "clip", lambda: built.append(1) or object())

    def ask(_: int) -> object:
        ready.wait(timeout=10)
        return registry.get(ModelType.EMBEDDER)

    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(ask, range(8)))

    assert len(models) == len(built) == 1


def test_one_model_that_loads_slowly_does_not_hold_up_another() -> None:
    loading, release = threading.Event(), threading.Event()

    def slow() -> str:
        loading.set()
        release.wait(timeout=10)
        return "slow"

    registry = Registry()
    registry.register(ModelType.EMBEDDER, "slow", slow)
    registry.register(ModelType.DETECTOR, "quick", lambda: "quick")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(registry.get, ModelType.EMBEDDER)
        assert loading.wait(timeout=10)
        assert registry.get(ModelType.DETECTOR) == "quick"
        assert registry.available()[ModelType.EMBEDDER] == ("slow",)
        release.set()

        assert waiting.result(timeout=10) == "slow"
