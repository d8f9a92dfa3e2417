"""Which models there are: the built-in ones as lines of a table, and the folders that a configuration means."""

from collections.abc import Callable, Mapping, Sequence

from kizu_fast import easyocr
from kizu_fast.builtin import ClipImage, Stock, Yolo
from kizu_fast.describe import Captioner, refusal
from kizu_fast.domain import Operation
from kizu_fast.faces import FaceFinder
from kizu_fast.models.captioners import UNSERVED_CAPTIONERS
from kizu_fast.plan import plan
from kizu_fast.ppocr import PpOcr
from kizu_fast.registry import ModelType, Registry
from kizu_fast.specs import ppocr_names


def register_models(registry: Registry, stock: Stock, *, min_score: float, longest: int = 2048) -> None:
    """The built-in models. A new one takes a module of its own and a line here (docs/adding-a-model.md)."""
    image, text, objects = stock.names()
    pack, captioner = stock.faces()[0].removesuffix("-detector"), stock.caption()
    table: Sequence[tuple[ModelType, str, Callable[[], object]]] = (
        (ModelType.EMBEDDER, image, lambda: ClipImage(stock.spec(image))),
        (ModelType.TEXT_EMBEDDER, text, lambda: stock.text(text)),
        (ModelType.DETECTOR, objects, lambda: Yolo(stock.spec(objects), min_score=min_score)),
        (ModelType.FACE, pack, lambda: _face_finder(stock, pack)),
        *_readers(stock, longest),
        (ModelType.VLM, captioner, lambda: Captioner(stock.spec(captioner), stock.caption_rules(captioner))),
        *((ModelType.VLM, name, refusal(reason)) for name, reason in UNSERVED_CAPTIONERS.items()),
    )
    known = registry.available()
    for kind, name, factory in table:
        if name not in known.get(kind, ()):
            registry.register(kind, name, factory)  # the first of its type is the default: a caller's own stays it


def models_in_use(stock: Stock, operations: Sequence[str]) -> tuple[str, ...]:
    """Folders of the repository that the settings mean, there or not: those of the operations, and the tower that reads questions."""
    image, text, objects = stock.names()
    by_operation: Mapping[str, Callable[[], tuple[str, ...]]] = {
        Operation.EMBEDDING: lambda: (image,),
        Operation.OBJECTS: lambda: (objects,),
        Operation.FACES: stock.faces,
        Operation.OCR: lambda: ppocr_names(stock.ppocr()) if stock.ocr_model() == "ppocr" else stock.easyocr(),
        Operation.DESCRIBE: lambda: (stock.caption(),),
    }
    return (text, *(name for operation in plan(operations).operations if operation in by_operation for name in by_operation[operation]()))


def _face_finder(stock: Stock, pack: str) -> FaceFinder:
    """Raises one ConfigError for all that is missing."""
    stock.require(stock.faces())
    detector, embedder = map(stock.spec, stock.faces())
    return FaceFinder(pack, detector, embedder)


def _readers(stock: Stock, longest: int) -> list[tuple[ModelType, str, Callable[[], object]]]:
    """The reader that OCR_MODEL names, as lines of the table above."""
    variant = stock.ppocr()
    table: Mapping[str, tuple[str, Callable[[], object]]] = {
        "ppocr": (f"ppocr-{variant}", lambda: _ppocr(stock, variant, longest)),
        "easyocr": (easyocr.name_in(stock), lambda: easyocr.load(stock, longest)),
    }
    return [(ModelType.OCR, *table[word]) for word in table if word == stock.ocr_model()]


def _ppocr(stock: Stock, variant: str, longest: int) -> PpOcr:
    """Raises one ConfigError for all that is missing."""
    names = ppocr_names(variant)
    stock.require(names)
    return PpOcr(f"ppocr-{variant}", [stock.spec(name) for name in names], stock.characters(names[-1]), longest=longest)
