"""Photos that want a re-run: their results come from other models than the settings name now. Results of one photo and operation are never mixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from kizu_fast.domain import Operation
from kizu_fast.settings import Settings
from kizu_fast.specs import RANDOM
from kizu_fast.store import CoverageStore
from kizu_fast.survey import Survey

SETTINGS: Mapping[Operation, str] = {
    Operation.EMBEDDING: "CLIP_MODEL",
    Operation.OBJECTS: "YOLO_SIZE",
    Operation.FACES: "FACE_MODEL_NAME",
    Operation.OCR: "OCR_MODEL",
    Operation.DESCRIBE: "DESCRIBE_MODEL",
}
_PACKS = "packs"


@dataclass(frozen=True, slots=True)
class Rerun:
    """photos have results of an operation by the models stored; the settings now mean current."""

    operation: Operation
    stored: tuple[str, ...]
    current: str
    photos: int

    def __str__(self) -> str:
        many = "photo has" if self.photos == 1 else "photos have"
        return f"{self.photos} {many} {self.operation} of {', '.join(self.stored)}; {SETTINGS[self.operation]} now means {self.current}"

    @property
    def command(self) -> str:
        """What queues these photos again."""
        return f"kizu-fast reindex --operations {self.operation}"

    @property
    def out_of_nothing(self) -> bool:
        """Whether what is stored means nothing and what would come means something: no question then."""
        return all(is_untrained(model) for model in self.stored)


async def wanted_reruns(coverage: CoverageStore, found: Survey, settings: Settings, user: UUID | None) -> list[Rerun]:
    """One per operation, in the order of the enumeration. Models with random weights are no reason to do anything again.

    found: what the settings mean. user None: of all users. Raises DatabaseUnavailable.
    """
    stored = await coverage.stored_models(user)
    current = {operation: model for operation, model in _current(found, settings, stored).items() if not is_untrained(model)}
    outdated = {one.operation: one for one in await coverage.outdated(user, {str(operation): model for operation, model in current.items()})}
    return [
        Rerun(operation, outdated[operation].models, model, outdated[operation].photos)
        for operation, model in current.items()
        if operation in outdated
    ]


def is_untrained(model: str) -> bool:
    """Whether a model's or a vector space's name says that its weights are random."""
    return RANDOM in model.replace("/", "-").split("-")


def _current(found: Survey, settings: Settings, stored: Mapping[str, tuple[str, ...]]) -> dict[Operation, str]:
    """What is filed under; where the models are not there to say, what the settings' own words tell about it."""
    current = dict(found.filed)
    if Operation.EMBEDDING not in current:
        named = f"open_clip/{settings.clip_model}/{settings.clip_pretrained}"
        current[Operation.EMBEDDING] = next((space for space in stored.get(Operation.EMBEDDING, ()) if space.startswith(f"{named}/")), named)
    if Operation.FACES not in current and settings.face_model_name not in stored.get(_PACKS, ()):
        current[Operation.FACES] = settings.face_model_name
    return {operation: current[operation] for operation in Operation if operation in current}
