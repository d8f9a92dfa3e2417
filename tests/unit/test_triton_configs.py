"""The committed config.pbtxt files: rendered from the specs, parsed by Triton's own protobuf, with the settings that were decided."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from export import configs
from kizu_fast.specs import Family, ModelSpec

ROOT = Path(__file__).resolve().parents[2]
SPECS = {spec.name: spec for spec in configs.default_specs()}


@pytest.fixture(params=sorted(SPECS))
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return SPECS[request.param]


@pytest.fixture
def committed(spec: ModelSpec) -> triton.ModelConfig:
    return text_format.Parse((ROOT / "model_repository" / spec.name / "config.pbtxt").read_text(), triton.ModelConfig())


def test_the_default_models_are_all_there() -> None:
    assert sorted(SPECS) == ["clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text", "yolov8l", "yolov8m", "yolov8n", "yolov8s", "yolov8x"]


def test_what_is_committed_is_what_the_specs_say() -> None:
    assert configs.differences(ROOT / "model_repository") == []


def test_tensors_are_those_of_the_spec(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    for tensors, written in ((spec.inputs, committed.input), (spec.outputs, committed.output)):
        assert [(tensor.name, configs.DTYPES[tensor.dtype], list(tensor.shape)) for tensor in tensors] == [
            (w.name, w.data_type, list(w.dims)) for w in written
        ]
    assert committed.max_batch_size == spec.max_batch
    assert committed.name == spec.name


def test_one_instance_without_a_kind_runs_on_every_machine(committed: triton.ModelConfig) -> None:
    assert [(group.count, group.kind) for group in committed.instance_group] == [(1, triton.ModelInstanceGroup.KIND_AUTO)]
    assert "kind" not in str(committed)
    assert committed.backend == "onnxruntime"
    assert committed.version_policy.latest.num_versions == 1


def test_a_full_queue_is_refused_and_an_old_request_too(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    policy = committed.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 4 * spec.max_batch
    assert policy.timeout_action == triton.ModelQueuePolicy.REJECT
    assert policy.default_timeout_microseconds == (1_000_000 if spec.family is Family.CLIP_TEXT else 5_000_000)
    assert policy.allow_timeout_override
    assert committed.dynamic_batching.max_queue_delay_microseconds == spec.max_delay_us
    assert not committed.dynamic_batching.preferred_batch_size


def test_people_who_wait_go_before_the_worker(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    levels = {Family.CLIP_IMAGE: (2, 2), Family.CLIP_TEXT: (2, 1), Family.YOLO: (0, 0)}
    batching = committed.dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == levels[spec.family]


def test_only_searches_are_cached(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    assert committed.response_cache.enable == (spec.family is Family.CLIP_TEXT)


def test_labels_lie_beside_the_detectors(spec: ModelSpec) -> None:
    path = ROOT / "model_repository" / spec.name / "labels.txt"
    assert path.exists() == bool(spec.labels)
    if spec.labels:
        assert tuple(path.read_text().splitlines()) == spec.labels


@pytest.fixture
def written(tmp_path: Path) -> Path:
    assert configs.main(["--repository", str(tmp_path)]) == 0
    return tmp_path


def test_what_was_just_written_is_equal(written: Path) -> None:
    assert configs.main(["--check", "--repository", str(written)]) == 0


def test_a_changed_file_is_found(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written / "yolov8m" / "config.pbtxt"
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 9"))
    assert configs.main(["--check", "--repository", str(written)]) == 1
    assert f"{path} differs from its ModelSpec; run: make configs" in capsys.readouterr().err


def test_a_file_that_triton_cannot_parse_says_where(written: Path) -> None:
    path = written / "yolov8m" / "config.pbtxt"
    path.write_text("dynamic_batchin { }")
    assert configs.differences(written) == [
        f'{path} differs from its ModelSpec and cannot be parsed: 1:1 : Message type "inference.ModelConfig" has no field named "dynamic_batchin".'
    ]


def test_a_missing_file_is_found(written: Path) -> None:
    (written / "yolov8m" / "labels.txt").unlink()
    assert configs.differences(written) == [f"{written / 'yolov8m' / 'labels.txt'} is missing"]
