"""From settings to the single values that the layers below take."""

from kizu_fast.builtin import Chosen
from kizu_fast.engine import EngineConfig
from kizu_fast.settings import Settings


def engine_config(settings: Settings, operations: tuple[str, ...], *, backend_wait_s: float = 0.0) -> EngineConfig:
    """The values that an engine needs, out of the settings. backend_wait_s: patience at the start with a service that does not answer yet."""
    return EngineConfig(
        model_repository=settings.model_repository,
        backend=settings.backend,
        chosen=Chosen(
            clip_model=settings.clip_model,
            clip_pretrained=settings.clip_pretrained,
            yolo_size=settings.yolo_size,
            face_model=settings.face_model_name,
        ),
        allow_random=settings.allow_random,
        operations=operations,
        batch_size=settings.batch_size,
        min_score=settings.object_min_score,
        max_pixels=settings.max_pixels,
        max_file_bytes=settings.max_file_bytes,
        decode=settings.decode,
        triton_urls=settings.triton_urls,
        triton_shm=settings.triton_shm,
        backend_wait_s=backend_wait_s,
    )
