"""The committed config.pbtxt files: rendered from the specs, parsed by Triton's own protobuf, with the settings that were decided."""

import json
from pathlib import Path

import graphs
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from export import config_check, configs
from kizu_fast.specs import Family, ModelSpec

COMMITTED = configs.COMMITTED
SPECS = {spec.name: spec for spec in configs.default_specs()}


@pytest.fixture(params=sorted(SPECS))
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return SPECS[request.param]


@pytest.fixture
def committed(spec: ModelSpec) -> triton.ModelConfig:
    return text_format.Parse((COMMITTED / "any" / spec.name / "config.pbtxt").read_text(), triton.ModelConfig())


def test_the_default_models_are_all_there() -> None:
    yolos = {f"yolov8{size}" for size in "lmnsx"}
    faces = {"face-buffalo-l-detector", "face-buffalo-l-embedder"}
    assert {"clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text"} | yolos | faces <= set(SPECS)


def test_what_is_committed_is_what_the_specs_say() -> None:
    assert configs.differences(COMMITTED) == []


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
    patience = {Family.CLIP_TEXT: 1_000_000, Family.CAPTION: 60_000_000}
    assert policy.default_timeout_microseconds == patience.get(spec.family, 5_000_000)
    assert policy.allow_timeout_override
    assert committed.dynamic_batching.max_queue_delay_microseconds == spec.max_delay_us
    assert not committed.dynamic_batching.preferred_batch_size


def test_people_who_wait_go_before_the_worker(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    levels = {Family.CLIP_IMAGE: (2, 2), Family.CLIP_TEXT: (2, 1)}
    batching = committed.dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == levels.get(spec.family, (0, 0))


def test_only_searches_are_cached(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    assert committed.response_cache.enable == (spec.family is Family.CLIP_TEXT)


def rendered(spec: ModelSpec, variant: str) -> triton.ModelConfig:
    return text_format.Parse(configs.render(spec, variant), triton.ModelConfig())


def test_every_bucket_is_warm_before_the_first_photo(spec: ModelSpec, committed: triton.ModelConfig) -> None:
    warm = {tuple(one.inputs[spec.inputs[0].name].dims) for one in committed.model_warmup}
    takes_seconds = spec.family is Family.CAPTION
    assert warm == (set() if takes_seconds else set(configs.bucket_shapes(spec, spec.inputs[0])))
    assert all(tensor.zero_data for one in committed.model_warmup for tensor in one.inputs.values())


def test_on_a_cpu_two_instances_of_one_thread_share_the_cores(spec: ModelSpec) -> None:
    config = rendered(spec, "cpu")
    assert config.instance_group[0].count == 2
    assert config.parameters["intra_op_thread_count"].string_value == "1"


def test_on_a_gpu_tensorrt_runs_in_half_precision_from_engines_that_are_kept(spec: ModelSpec) -> None:
    config = rendered(spec, "gpu")
    if spec.family is Family.CAPTION:  # a loop: onnxruntime on CUDA runs it
        assert not config.HasField("optimization")
        return
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_engine_cache_enable"] == "1"
    assert accelerator.parameters["trt_engine_cache_path"] == f"/engines/{spec.name}"
    assert config.instance_group[0].count == 1
    assert config.instance_group[0].kind == triton.ModelInstanceGroup.KIND_AUTO


def test_one_profile_spans_all_buckets_and_batches() -> None:
    (accelerator,) = rendered(SPECS["yolov8m"], "gpu").optimization.execution_accelerators.gpu_execution_accelerator
    profile = {key.split("_")[2]: value for key, value in accelerator.parameters.items() if "profile" in key}
    assert profile == {"min": "pixels:1x480x480x3", "opt": "pixels:8x640x640x3", "max": "pixels:8x640x640x3"}


def test_a_shape_that_the_spec_leaves_open_has_neither_profile_nor_warm_up() -> None:
    open_spec = graphs.specs.yolo("open", labels=())
    bare = type(open_spec)(**{name: getattr(open_spec, name) for name in ModelSpec.__dataclass_fields__ if name != "buckets"})
    config = rendered(bare, "gpu")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert not [key for key in accelerator.parameters if "profile" in key]
    assert not config.model_warmup


def test_plans_are_served_by_tensorrt_itself(spec: ModelSpec) -> None:
    config = rendered(spec, "tensorrt")
    planned = spec.family is not Family.CAPTION
    assert (config.backend, config.default_model_filename) == (("tensorrt", "model.plan") if planned else ("onnxruntime", ""))
    assert [tensor.name for tensor in config.output] == [tensor.name for tensor in spec.outputs]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The committed ones, written afresh."""
    assert configs.main(["--committed", str(tmp_path)]) == 0
    return tmp_path


def test_what_was_just_written_is_equal(written: Path, tmp_path: Path) -> None:
    assert configs.main(["--check", "--committed", str(written), "--repository", str(tmp_path / "none")]) == 0


def test_a_changed_file_is_found_and_the_way_to_mend_it_is_said(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written / "gpu" / "yolov8m" / "config.pbtxt"
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 9"))
    assert configs.main(["--check", "--committed", str(written), "--repository", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"{path}: model yolov8m: max_batch_size is 9, expected 8; run: make configs\n"


def test_a_file_that_no_model_has_is_found(written: Path) -> None:
    path = written / "any" / "yolov9" / "config.pbtxt"
    path.parent.mkdir()
    path.write_text("")
    assert configs.differences(written) == [f"{path} is of no model of export/configs.py; remove it, or add its spec"]


def test_a_missing_file_is_found(written: Path) -> None:
    path = written / "any" / "yolov8m" / "config.pbtxt"
    path.unlink()
    assert configs.differences(written) == [f"{path} is missing: model yolov8m has no configuration"]


# what is broken, how (old text, new text), and the field that the message must name
BROKEN: dict[str, tuple[str, str, str]] = {
    "a fixed height": ("  dims: -1\n  dims: -1\n  dims: 3", "  dims: 640\n  dims: -1\n  dims: 3", "input[pixels].dims"),
    "a fixed size": ("  dims: -1\n  dims: -1\n  dims: 3", "  dims: 640\n  dims: 640\n  dims: 3", "input[pixels].dims"),
    "four channels": ("  dims: -1\n  dims: 3\n", "  dims: -1\n  dims: 4\n", "input[pixels].dims"),
    "channels first": ("  dims: -1\n  dims: -1\n  dims: 3", "  dims: 3\n  dims: -1\n  dims: -1", "input[pixels].dims"),
    "a batch axis in the input": ("  data_type: TYPE_UINT8\n  dims: -1", "  data_type: TYPE_UINT8\n  dims: -1\n  dims: -1", "input[pixels].dims"),
    "a lost input axis": ("  data_type: TYPE_UINT8\n  dims: -1\n", "  data_type: TYPE_UINT8\n", "input[pixels].dims"),
    "float pixels": ("data_type: TYPE_UINT8", "data_type: TYPE_FP32", "input[pixels].data_type"),
    "signed pixels": ("data_type: TYPE_UINT8", "data_type: TYPE_INT8", "input[pixels].data_type"),
    "half pixels": ("data_type: TYPE_UINT8", "data_type: TYPE_FP16", "input[pixels].data_type"),
    "another input name": ('name: "pixels"', 'name: "images"', "input[images].name"),
    "an input name with a capital": ('name: "pixels"', 'name: "Pixels"', "input[Pixels].name"),
    "another output name": ('name: "boxes"', 'name: "output0"', "output[output0].name"),
    "swapped outputs": ('name: "scores"', 'name: "classes"', "output[scores].name"),
    "no boxes": ('output {\n  name: "boxes"\n  data_type: TYPE_FP32\n  dims: 1000\n  dims: 4\n}\n', "", "output[boxes].name"),
    "no classes": ('output {\n  name: "classes"\n  data_type: TYPE_INT32\n  dims: 1000\n}\n', "", "output[classes].name"),
    "one output too many": ("instance_group", 'output {\n  name: "raw"\n  data_type: TYPE_FP32\n  dims: 84\n}\ninstance_group', "output[raw].name"),
    "fewer candidates": ("  dims: 1000\n  dims: 4", "  dims: 300\n  dims: 4", "output[boxes].dims"),
    "candidates that vary": ("  dims: 1000\n  dims: 4", "  dims: -1\n  dims: 4", "output[boxes].dims"),
    "five numbers a box": ("  dims: 1000\n  dims: 4", "  dims: 1000\n  dims: 5", "output[boxes].dims"),
    "half scores": ('name: "scores"\n  data_type: TYPE_FP32', 'name: "scores"\n  data_type: TYPE_FP16', "output[scores].data_type"),
    "long classes": ("data_type: TYPE_INT32", "data_type: TYPE_INT64", "output[classes].data_type"),
    "no batches": ("max_batch_size: 8", "max_batch_size: 0", "max_batch_size"),
    "a larger batch": ("max_batch_size: 8", "max_batch_size: 64", "max_batch_size"),
    "another model's name": ('name: "yolov8m"', 'name: "yolov8n"', "name"),
    "another backend": ('backend: "onnxruntime"', 'backend: "pytorch"', "backend"),
    "two instances": ("instance_group {\n  count: 1", "instance_group {\n  count: 2", "instance_group[0].count"),
    "a kind that only GPUs have": ("instance_group {\n  count: 1", "instance_group {\n  count: 1\n  kind: KIND_GPU", "instance_group[0].kind"),
    "an endless queue": ("    max_queue_size: 32\n", "", "max_queue_size"),
    "requests that wait for ever": ("    default_timeout_microseconds: 5000000\n", "", "default_timeout_microseconds"),
    "a longer queue delay": ("max_queue_delay_microseconds: 5000", "max_queue_delay_microseconds: 500000", "max_queue_delay_microseconds"),
    "old versions": ("num_versions: 1", "num_versions: 2", "version_policy.latest.num_versions"),
    "a warm-up of another shape": ("      dims: 480\n      dims: 640", "      dims: 480\n      dims: 481", "model_warmup[480x640 batch 1]"),
    "a cache of photos": ('backend: "onnxruntime"', 'backend: "onnxruntime"\nresponse_cache {\n  enable: true\n}', "response_cache.enable"),
    "a misspelt field": ("dynamic_batching {", "dynamic_batchin {", 'no field named "dynamic_batchin"'),
    "a misspelt type": ("TYPE_UINT8", "TYPE_UINT", "TYPE_UINT"),
    "an open brace": ("instance_group {\n  count: 1\n}", "instance_group {\n  count: 1\n", "inference.ModelInstanceGroup"),
    "a word for a number": ("max_batch_size: 8", "max_batch_size: eight", "eight"),
}


def broken(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_configuration_is_found_with_model_and_field(tmp_path: Path, fault: str) -> None:
    old, new, field = BROKEN[fault]
    path, text = tmp_path / "config.pbtxt", configs.render(SPECS["yolov8m"])
    path.write_text(text)
    broken(path, old, new)
    found = config_check.against_text(path, "yolov8m", [text])
    assert found
    assert all(line.startswith(f"{path}: model yolov8m") for line in found)
    assert any(field in line for line in found), found


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A repository of tiny models as the export leaves it."""
    graphs.install_yolo(tmp_path)
    graphs.install_text(tmp_path)
    assert configs.main(["--variant", "any", "--repository", str(tmp_path)]) == 0
    return tmp_path


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_exported_models_agree_with_specs_and_graphs_in_every_variant(exported: Path, variant: str) -> None:
    assert configs.main(["--variant", variant, "--repository", str(exported)]) == 0
    assert configs.exported_differences(exported) == []
    assert f"variant {variant}" in (exported / "yolov8m" / "config.pbtxt").read_text().splitlines()[0]


ABOUT_THE_GRAPH = [fault for fault, (_, _, field) in BROKEN.items() if field.startswith(("input[", "output[")) or fault == "no batches"]


@pytest.mark.parametrize("fault", ABOUT_THE_GRAPH)
def test_what_contradicts_the_graph_is_found_by_the_graph_alone(exported: Path, fault: str) -> None:
    old, new, _ = BROKEN[fault]
    path = exported / "yolov8m" / "config.pbtxt"
    broken(path, old, new)
    found = [line for line in configs.exported_differences(exported) if "graph" in line]
    if fault in ("a fixed height", "a fixed size"):
        assert found == []  # the graph takes any size: Triton would load it, and refuse the other buckets
        return
    assert found
    assert all(line.startswith(f"{path}: model yolov8m: ") for line in found)


def test_an_exported_model_whose_manifest_is_broken_is_named(exported: Path) -> None:
    manifest = exported / "yolov8m" / "manifest.json"
    manifest.write_text(json.dumps({"source": "official", "original": "x"}))
    (line,) = configs.exported_differences(exported)
    assert line.startswith("model yolov8m: ")
    assert configs.main(["--variant", "any", "--repository", str(exported)]) == 1


def test_check_tells_how_to_mend_an_exported_model(exported: Path, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken(exported / "yolov8m" / "config.pbtxt", "max_batch_size: 8", "max_batch_size: 7")
    assert configs.main(["--check", "--committed", str(configs.COMMITTED), "--repository", str(exported)]) == 1
    assert f"run: python -m export.configs --variant any --repository {exported}" in capsys.readouterr().err
