"""JPEG by NVIDIA DALI: decoded in full on the GPU and scaled there, so that only the small picture comes back (docs/decisions/023-gpu-decode.md)."""

import importlib
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import simplejpeg
import structlog
from numpy.typing import NDArray

from kizu_fast.errors import ConfigError
from kizu_fast.imaging import turbo_jpeg

MAX_PIXELS = 40_000_000  # of the full picture: 120 MB of the GPU's memory for each lane; larger ones are scaled inside the usual decoder
_PROOF = simplejpeg.encode_jpeg(np.full((32, 32, 3), 128, np.uint8))
_INSTEAD = "KIZU_DECODE=scaled decodes without it"

log = structlog.get_logger()


class GpuJpeg:
    """A JpegDecoder for several threads, each with a DALI pipeline of its own.

    What does not suit it, and what it refuses, is turbo_jpeg's to judge. A GPU that is lost leaves all photos to it, and says so once.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        """build: makes a pipeline, as `pipeline` does. Raises RuntimeError of DALI when a picture cannot be decoded by it."""
        self._build = build
        self._of_thread = threading.local()
        self._lost = False
        self._run(_PROOF, 8, 8)

    def __call__(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB as stored, not yet turned. Blocks. Raises ValueError for what neither decoder takes."""
        if not self._lost and _suits(data):
            try:
                return self._run(data, height, width)
            except RuntimeError:
                self._check()
        return turbo_jpeg(data, height, width)

    def _run(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        if not hasattr(self._of_thread, "pipeline"):
            self._of_thread.pipeline = self._build()
        running = self._of_thread.pipeline
        try:
            running.feed_input("data", [np.frombuffer(data, np.uint8)])
            running.feed_input("size", [np.array([height, width], np.float32)])
            (pictures,) = running.run()
        except RuntimeError:
            del self._of_thread.pipeline  # one that failed once never runs again
            raise
        return np.array(pictures.as_cpu()[0])

    def _check(self) -> None:
        """Tells a bad picture from a lost GPU, by a picture that is known to be good."""
        try:
            self._run(_PROOF, 8, 8)
        except RuntimeError as error:
            self._lost = True
            fix = f"start the worker again; until then photos are decoded on the CPU; {_INSTEAD}"
            log.error("decode.gpu_lost", reason=_first_line(error), fix=fix)  # noqa: TRY400  # no operator has use for the trace


def open_gpu_jpeg() -> GpuJpeg:
    """On the first GPU. Blocks for seconds. Raises ConfigError in one line when DALI is not installed or finds no GPU."""
    try:
        return GpuJpeg(partial(pipeline, "gpu"))
    except ImportError:
        raise ConfigError(f"KIZU_DECODE=gpu needs NVIDIA DALI; run: pip install 'kizu-fast[gpu-decode]' (Linux, x86-64); {_INSTEAD}") from None
    except RuntimeError as error:
        raise ConfigError(f"KIZU_DECODE=gpu: DALI decodes nothing here ({_first_line(error)}); it needs an NVIDIA GPU; {_INSTEAD}") from error


def pipeline(device: Literal["gpu", "cpu"]) -> Any:
    """A DALI pipeline: inputs "data" (JPEG bytes) and "size" (height, width), one RGB picture out. cpu: the same without a GPU.

    Antialiased cubic scaling of the full picture is nearer to it than a DCT-scaled decode. Raises ImportError without DALI, RuntimeError without a GPU.
    """
    dali, fn = importlib.import_module("nvidia.dali"), importlib.import_module("nvidia.dali.fn")
    types = dali.types
    made = dali.Pipeline(
        batch_size=1, num_threads=1, device_id=0 if device == "gpu" else None, prefetch_queue_depth=1, exec_async=False, exec_pipelined=False
    )
    with made:
        data = fn.external_source(name="data", ndim=1, dtype=types.UINT8)
        size = fn.external_source(name="size", ndim=1, dtype=types.FLOAT)
        picture = fn.decoders.image(
            data,
            device="mixed" if device == "gpu" else "cpu",
            output_type=types.RGB,
            adjust_orientation=False,
            jpeg_fancy_upsampling=True,  # as libjpeg
        )
        made.set_outputs(fn.resize(picture, size=size, interp_type=types.INTERP_CUBIC, antialias=True))
    made.build()
    return made


def _suits(data: bytes) -> bool:
    """Not too large, and not cut short: a GPU would fill in grey and call it a photo. Raises ValueError for a broken header."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return height * width <= MAX_PIXELS and has_end(data)


def has_end(data: bytes) -> bool:
    """Whether the picture's own end marker is there: not that of a thumbnail in its header. Inside coded pixels 0xFF 0xD9 cannot occur."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) >= 0


def _first_line(error: RuntimeError) -> str:
    """What DALI says, without its own source."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return re.sub(r'^Assert on ".*?" failed: ', "", line).partition(". ")[0][:200]
