"""Registry: which models there are, which is the default of its type, and the loaded one of each. Thread-safe.

A type's models are interchangeable: whoever asks for ModelType.DETECTOR gets whatever was registered as its default.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec, Prepared

__all__ = ["Chain", "ChainPart", "Loadable", "ModelRegistry", "ModelType", "PhotoModel", "Prepared", "Registry", "Runs", "TextModel"]

P = ParamSpec("P")
T = TypeVar("T")


class ModelType(StrEnum):
    """What a model is for. register() and get() also take any other string: a type of your own."""

    EMBEDDER = "embedder"
    TEXT_EMBEDDER = "text_embedder"
    DETECTOR = "detector"
    FACE = "face"
    OCR = "ocr"
    VLM = "vlm"


class PhotoModel(Protocol):
    """What the engine asks of a model that sees photos. Both methods are pure and may run in any thread."""

    spec: ModelSpec

    def prepare(self, photo: Photo) -> Prepared[Any]:
        """Preprocess one photo. Raises PermanentError."""
        ...


class Runs(Protocol):
    """What a chain asks of the engine."""

    async def run(self, part: Any, subject: Any) -> Any:
        """One row through one part: prepared in a lane, batched with rows of other photos, inferred, finished."""
        ...

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Pure computing between two parts, such as cutting crops, in a lane."""
        ...


class ChainPart(Protocol):
    """One graph of a chain. Like a PhotoModel, but it sees what the chain hands it: a crop, a line of text."""

    spec: ModelSpec

    def prepare(self, subject: Any) -> Prepared[Any]:
        """Preprocess one subject. Pure; may run in any thread. Raises PermanentError."""
        ...


@runtime_checkable
class Chain(Protocol):
    """A model of several graphs, each working on what the one before found: faces, OCR. Its parts are loaded and unloaded together."""

    name: str  # what results are filed under
    parts: Sequence[ChainPart]

    async def analyse(self, photo: Photo, runs: Runs) -> Any:
        """One photo to the operation's result. Rows of one photo run at the same time and share batches with other photos. Raises PermanentError."""
        ...


class TextModel(Protocol):
    """What the engine asks of a model that reads text."""

    spec: ModelSpec

    def prepare(self, text: str) -> Prepared[Any]:
        """Tokenize one text."""
        ...


@runtime_checkable
class Loadable(Protocol):
    """A model with something of its own to load and free. Without these two methods the constructor loads."""

    def load_model(self) -> None:
        """Called once, before get() returns the model."""
        ...

    def unload_model(self) -> None:
        """Called once, by unload()."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    factory: Callable[..., Any]
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Any = None  # None: not loaded


class Registry:
    """register() stores a factory and loads nothing; the first get() loads, under that entry's own lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two tables, never held while a model loads
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._defaults: dict[str, str] = {}

    def register(self, kind: str, name: str, factory: Callable[..., Any], *, is_default: bool = False) -> None:
        """Make name known. The first of its type is the default until another claims it; the same name again replaces the entry."""
        with self._lock:
            replaced = self._entries.get((kind, name))
            self._entries[kind, name] = _Entry(factory)
            if is_default or kind not in self._defaults:
                self._defaults[kind] = name
        if replaced:
            _free(replaced)

    def get(self, kind: str, name: str | None = None) -> Any:
        """The model, loaded on first use; blocks while it loads. Without a name: the default of its type.

        "mymodel-large" is "mymodel" built with the variant "large", unless it is registered itself.
        Raises ConfigError for what is not registered, and whatever the factory raises (then the next get() tries again).
        """
        entry = self._entry(kind, self.default(kind) if name is None else name)
        with entry.lock:
            if entry.model is None:
                model = entry.factory()
                if isinstance(model, Loadable):
                    model.load_model()
                entry.model = model
            return entry.model

    def unload(self, kind: str, name: str) -> bool:
        """Forget the loaded model; the next get() loads again. False when it was not loaded. Raises ConfigError for an unknown name."""
        return _free(self._entry(kind, name))

    def unload_all(self) -> None:
        """Forget every loaded model."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            _free(entry)

    def default(self, kind: str) -> str:
        """The name that get(kind) takes. Raises ConfigError when nothing of that type is registered."""
        with self._lock:
            if kind not in self._defaults:
                raise ConfigError(f"no model of type {kind} is registered")
            return self._defaults[kind]

    def available(self) -> dict[str, tuple[str, ...]]:
        """Registered names by type, the default first."""
        with self._lock:
            found: dict[str, list[str]] = {}
            for kind, name in self._entries:
                found.setdefault(kind, []).insert(0 if self._defaults[kind] == name else len(found[kind]), name)
        return {kind: tuple(names) for kind, names in found.items()}

    def loaded(self) -> tuple[tuple[str, str], ...]:
        """(type, name) of every loaded model."""
        with self._lock:
            return tuple(key for key, entry in self._entries.items() if entry.model is not None)

    def _entry(self, kind: str, name: str) -> _Entry:
        with self._lock:
            entry = self._entries.get((kind, name)) or self._variant(kind, name)
            if entry is None:
                known = sorted(n for k, n in self._entries if k == kind)
                raise ConfigError(f"no {kind} {name!r} is registered; known are {', '.join(known) or 'none'}")
            return entry

    def _variant(self, kind: str, name: str) -> _Entry | None:
        bases = [n for k, n in self._entries if k == kind and name.startswith(f"{n}-")]
        base = max(bases, key=len, default=None)
        if base is None or not _takes_variant(self._entries[kind, base].factory):
            return None
        factory, variant = self._entries[kind, base].factory, name.removeprefix(f"{base}-")
        return self._entries.setdefault((kind, name), _Entry(lambda: factory(variant)))


def _takes_variant(factory: Callable[..., Any]) -> bool:
    try:
        inspect.signature(factory).bind("variant")
    except (TypeError, ValueError):
        return False
    return True


def _free(entry: _Entry) -> bool:
    with entry.lock:
        model, entry.model = entry.model, None
        if isinstance(model, Loadable):
            model.unload_model()
    return model is not None


ModelRegistry = Registry()
