"""Options of execution providers: profiles, cache folders and limits, without a GPU or a Mac."""

from pathlib import Path

import pytest

from kizu_fast import specs
from kizu_fast.backends import providers
from kizu_fast.backends.onnx import KINDS
from kizu_fast.backends.providers import COREML, CPU, CUDA, TENSORRT, Limits

YOLO = specs.yolo("yolov8n", labels=("person",))
IMAGE = specs.clip_image("clip", side=224, dim=512, space="s")


def of(kind: str, name: str, limits: Limits | None = None, *, precision: str = "fp16") -> dict[str, str]:
    chosen = providers.options(KINDS[kind].providers, YOLO, limits or Limits(), precision=precision)
    return dict(chosen)[name]


def test_a_model_with_buckets_gets_one_profile_for_each() -> None:
    found = providers.profiles(YOLO)

    assert [one.smallest["pixels"] for one in found] == [(1, *bucket, 3) for bucket in YOLO.buckets]
    assert [one.largest["pixels"] for one in found] == [(8, *bucket, 3) for bucket in YOLO.buckets]


def test_a_model_of_fixed_shape_gets_one_profile_made_fastest_for_full_batches() -> None:
    (only,) = providers.profiles(IMAGE)

    assert only.smallest == {"pixels": (1, 224, 224, 3)}
    assert only.best == only.largest == {"pixels": (32, 224, 224, 3)}


def test_no_profile_has_an_open_dimension() -> None:
    detector = specs.scrfd("faces")

    assert all(size > 0 for one in providers.profiles(detector) for shape in one.best.values() for size in shape)


def test_profiles_are_written_as_onnxruntime_reads_them() -> None:
    assert providers.written(one.smallest for one in providers.profiles(YOLO)) == "pixels:1x640x640x3,pixels:1x480x640x3,pixels:1x640x480x3"


def test_tensorrt_is_told_profiles_precision_and_where_engines_lie() -> None:
    found = of("tensorrt", TENSORRT, Limits(Path("/data/compiled"), 4_000_000_000))

    assert found["trt_profile_max_shapes"].startswith("pixels:8x640x640x3,")
    assert found["trt_fp16_enable"] == "1"
    assert found["trt_engine_cache_path"] == "/data/compiled/tensorrt/yolov8n-fp16"
    assert found["trt_max_workspace_size"] == "2000000000"


def test_a_graph_in_fp32_is_never_lowered_on_the_way() -> None:
    assert of("tensorrt", TENSORRT, precision="fp32")["trt_fp16_enable"] == "0"


def test_engines_of_two_precisions_do_not_share_a_folder() -> None:
    limits = Limits(Path("/c"))

    assert of("tensorrt", TENSORRT, limits)["trt_engine_cache_path"] != of("tensorrt", TENSORRT, limits, precision="fp32")["trt_engine_cache_path"]


def test_without_a_cache_folder_nothing_is_written() -> None:
    chosen = providers.options(KINDS["tensorrt"].providers, YOLO, Limits(), precision="fp16")

    assert providers.cache_folders(chosen) == []
    assert "trt_engine_cache_enable" not in dict(chosen)[TENSORRT]


def test_the_memory_limit_reaches_cuda_also_below_tensorrt() -> None:
    limits = Limits(None, 1_000_000_000)

    assert of("cuda", CUDA, limits)["gpu_mem_limit"] == of("tensorrt", CUDA, limits)["gpu_mem_limit"] == "1000000000"
    assert "gpu_mem_limit" not in of("cuda", CUDA)


def test_coreml_makes_an_ml_program_of_static_shapes_and_keeps_it() -> None:
    found = of("coreml", COREML, Limits(Path("/c")))

    assert (found["ModelFormat"], found["MLComputeUnits"], found["RequireStaticInputShapes"]) == ("MLProgram", "ALL", "1")
    assert found["ModelCacheDirectory"] == "/c/coreml"


def test_every_cache_folder_is_named_so_that_it_can_be_made() -> None:
    chosen = providers.options(KINDS["tensorrt"].providers, YOLO, Limits(Path("/c")), precision="fp16")

    assert providers.cache_folders(chosen) == [Path("/c/tensorrt/yolov8n-fp16"), Path("/c/tensorrt")]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_options_keep_the_order_of_the_providers(kind: str) -> None:
    chosen = providers.options(KINDS[kind].providers, YOLO, Limits(), precision="fp32")

    assert [name for name, _ in chosen] == [name for name, _ in KINDS[kind].providers]


def test_nodes_on_the_cpu_are_counted_by_kind() -> None:
    def node(kind: str, provider: str, suffix: str = "_kernel_time") -> dict[str, object]:
        return {"cat": "Node", "name": f"n{suffix}", "args": {"op_name": kind, "provider": provider}}

    events = [
        node("TopK", CPU),
        node("GatherElements", CPU),
        node("TopK", CPU),
        node("CoreML_1", COREML),
        node("TopK", CPU, "_fence_before"),
        {"cat": "Session", "name": "model_run"},
    ]

    assert providers.left_on_cpu(events) == {"TopK": 2, "GatherElements": 1}
