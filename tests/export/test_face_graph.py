"""The graphs of a pack: the batch repaired, what cannot be repaired refused, and equal to single runs of the untouched file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_packs import IMAGE_MAJOR, INTERLEAVED, detector, embedder, pack
from onnx import helper, numpy_helper

from export import face, face_graph, graph, parity, run, sources
from export import manifest as manifests
from export.digests import digest
from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError
from kizu_fast.models import scrfd

Job = Callable[..., Any]


def exported(job: Job, home: Path, name: str) -> tuple[run.Outcome, ModelRepository]:
    work = job(home)
    return run.export(sources.face.pack(name), work), ModelRepository(work.repository)


@pytest.mark.parametrize(
    ("name", "detects", "embeds"),
    [("buffalo_l", "det_10g", "w600k_r50"), ("antelopev2", "scrfd_10g_bnkps", "glintr100"), ("my faces", "own_detector", "own_embedder")],
)
def test_a_pack_becomes_a_detector_and_an_embedder_that_agree_with_their_files(
    job: Job, tmp_path: Path, name: str, detects: str, embeds: str
) -> None:
    pack(tmp_path / "weights" / "insightface" / "models" / name, detects=detects, embeds=embeds)
    outcome, models = exported(job, tmp_path / "weights", name)
    assert outcome.failures == {}
    found, embeds_with = (outcome.manifests[part] for part in specs.face_names(name))
    assert found["file"] == f"{detects}.onnx"
    assert all(found["parity"][key] == 0 for key in ("score_difference", "box_difference_px", "landmark_difference_px", "batch_difference"))
    assert embeds_with["parity"]["cosine_min"] > 0.999999
    assert embeds_with["parity"]["batch_difference"] == 0
    file = tmp_path / "weights" / "insightface" / "models" / name / f"{embeds}.onnx"
    assert models.spec(specs.face_names(name)[1]).space == f"insightface/{embeds}/a1/{digest(file)[:8]}"
    assert all("non-commercial" in manifest["licence"] for manifest in outcome.manifests.values())


def test_a_pack_without_an_embedder_gets_its_detector_and_says_what_is_missing(job: Job, tmp_path: Path) -> None:
    pack(tmp_path / "weights" / "buffalo_m", detects="det_2.5g", embeds=None)
    outcome, _ = exported(job, tmp_path / "weights", "buffalo_m")
    assert list(outcome.manifests) == ["face-buffalo-m-detector"]
    assert "buffalo_m holds no face embedder" in outcome.failures["face-buffalo-m-embedder"]


def test_the_middle_detector_at_hand_is_repaired_too(job: Job, face_weights: Path) -> None:
    """det_2.5g, with other layers and other output names than det_500m."""
    outcome, _ = exported(job, face_weights, "buffalo_m")
    figures = outcome.manifests["face-buffalo-m-detector"]["parity"]
    print(f"\ndet_2.5g: {figures}")
    assert max(figures[key] for key in ("score_difference", "box_difference_px", "landmark_difference_px", "batch_difference")) == 0
    assert "holds no face embedder" in outcome.failures["face-buffalo-m-embedder"]


def repaired(path: Path) -> onnx.ModelProto:
    return face_graph.repaired(onnx.load(str(path)), path)


def test_every_head_of_a_published_file_interleaves_the_batch(tmp_path: Path, packs_at_hand: Path | None) -> None:
    files = [detector(tmp_path / "det_10g.onnx"), *(sorted(packs_at_hand.glob("insightface/models/*/det_*.onnx")) if packs_at_hand else [])]
    for file in files:
        turned = [node for node in onnx.load(str(file)).graph.node if node.op_type == "Transpose"]
        assert [tuple(node.attribute[0].ints) for node in turned] == [INTERLEAVED] * 9, file.name


def test_all_nine_heads_are_turned_and_nothing_else_is(tmp_path: Path) -> None:
    before = onnx.load(str(detector(tmp_path / "det.onnx")))
    after = repaired(tmp_path / "det.onnx")
    assert len(before.graph.node) == len(after.graph.node)
    changed = [(old, new) for old, new in zip(before.graph.node, after.graph.node, strict=True) if old != new]
    assert sorted(new.op_type for _, new in changed) == ["Reshape"] * 9 + ["Transpose"] * 9
    shapes = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in after.graph.initializer if tensor.name.startswith("batch_first")}
    assert sorted(shapes.values()) == sorted([[0, -1, width] for width in face_graph.WIDTHS])


def test_a_repaired_file_gives_each_picture_of_a_batch_its_own_rows(tmp_path: Path) -> None:
    file = detector(tmp_path / "det.onnx")
    onnx.save(repaired(file), str(tmp_path / "repaired.onnx"))
    batch = np.random.default_rng(1).standard_normal((3, 3, 64, 96)).astype(np.float32)
    alone = [graph.Session(file).run({"input.1": row[None]}) for row in batch]
    together = graph.Session(tmp_path / "repaired.onnx").run({"input.1": batch})
    for name, values in together.items():
        assert all(np.array_equal(values[i], single[name]) for i, single in enumerate(alone))


def test_the_untouched_file_would_mix_the_pictures(tmp_path: Path) -> None:
    """The trap itself: with its batch axis merely freed it runs, and the rows come out interleaved."""
    file = detector(tmp_path / "det.onnx")
    freed = onnx.load(str(file))
    freed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(freed, str(tmp_path / "freed.onnx"))
    batch = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    together = next(iter(graph.Session(tmp_path / "freed.onnx").run({"input.1": batch}).values()))
    first = next(iter(graph.Session(file).run({"input.1": batch[:1]}).values()))
    assert not np.array_equal(together[: len(first)], first)


def test_a_re_export_with_the_batch_in_front_is_taken_as_it_is(tmp_path: Path) -> None:
    file = detector(tmp_path / "det.onnx", perm=IMAGE_MAJOR)
    spec = specs.scrfd("made")
    onnx.save(face_graph.detector(file, spec), str(tmp_path / "made.onnx"))
    assert face.detector_parity(file, spec, tmp_path / "made.onnx")["score_difference"] == 0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"perm": (0, 1, 2, 3)}, "is no head of SCRFD as we know it"),
        ({"perm": (3, 2, 0, 1)}, "is no head of SCRFD as we know it"),
        ({"shared_head": True}, "is no head of SCRFD as we know it"),  # eight heads for nine outputs
        ({"mixed_inside": True}, "the batch is moved inside the network too"),
        ({"side": 640}, "takes pictures of one size only"),
    ],
)
def test_a_detector_that_is_built_otherwise_is_refused(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        repaired(detector(tmp_path / "odd.onnx", **how))
    assert "odd.onnx" in str(refusal.value)


def test_a_head_without_its_reshape_is_refused(tmp_path: Path) -> None:
    core = onnx.load(str(detector(tmp_path / "det.onnx")))
    reshape = next(node for node in core.graph.node if node.op_type == "Reshape")
    reshape.CopyFrom(helper.make_node("Identity", [reshape.input[0]], list(reshape.output)))
    with pytest.raises(ConfigError, match="is no head of SCRFD as we know it"):
        face_graph.repaired(core, tmp_path / "det.onnx")


class Wrong:
    """Exports that went wrong, each in one way."""

    @staticmethod
    def colours(model: onnx.ModelProto) -> None:
        """Blue where red is: the planes of the first convolution in reverse order."""
        node = next(node for node in model.graph.node if node.op_type == "Conv")
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights)[:, ::-1].copy(), weights.name))

    @staticmethod
    def scaling(model: onnx.ModelProto) -> None:
        """127.5 for the 128 that the detector was made for."""
        for node in model.graph.node:
            if node.output[0] == "factor":
                right = float(numpy_helper.to_array(node.attribute[0].t))
                node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(1 / 127.5 if right < 1 / 127.9 else 1 / 128, np.float32)))

    @staticmethod
    def cells(model: onnx.ModelProto) -> None:
        """Heads in which cells change places: rows of the picture for columns."""
        for node in model.graph.node:
            if node.op_type == "Transpose" and list(node.attribute[0].ints) == list(IMAGE_MAJOR):
                node.attribute[0].ints[:] = [0, 3, 2, 1]


@pytest.mark.parametrize("wrong", [Wrong.colours, Wrong.scaling, Wrong.cells])
def test_a_detector_that_went_wrong_does_not_pass_its_comparison(tmp_path: Path, wrong: Callable[[onnx.ModelProto], None]) -> None:
    file, spec = detector(tmp_path / "det.onnx"), specs.scrfd("made")
    made = face_graph.detector(file, spec)
    onnx.save(made, str(tmp_path / "right.onnx"))
    parity.demand("made", face.detector_parity(file, spec, tmp_path / "right.onnx"))
    wrong(made)
    onnx.save(made, str(tmp_path / "wrong.onnx"))
    with pytest.raises(ConfigError, match="made"):
        parity.demand("made", face.detector_parity(file, spec, tmp_path / "wrong.onnx"))


@pytest.mark.parametrize("wrong", [Wrong.colours, Wrong.scaling])
def test_an_embedder_that_went_wrong_does_not_pass_its_comparison(tmp_path: Path, wrong: Callable[[onnx.ModelProto], None]) -> None:
    file, spec = embedder(tmp_path / "r50.onnx"), specs.arcface("made", dim=512, space="made")
    original = face.SingleRuns(file)
    made = face_graph.embedder(file, spec)
    onnx.save(made, str(tmp_path / "right.onnx"))
    right = face.embedder_parity(original, normalised=False, spec=spec, path=tmp_path / "right.onnx")
    parity.demand("made", right)
    wrong(made)
    onnx.save(made, str(tmp_path / "wrong.onnx"))
    figures = face.embedder_parity(original, normalised=False, spec=spec, path=tmp_path / "wrong.onnx")
    print(f"\n{wrong.__name__}: {figures}")
    assert figures["cosine_min"] < right["cosine_min"]


def test_an_embedder_that_normalises_by_itself_is_not_normalised_twice(tmp_path: Path) -> None:
    plain, own = embedder(tmp_path / "plain.onnx"), embedder(tmp_path / "own.onnx", normalises=True)
    assert [face_graph.normalises(onnx.load(str(file))) for file in (plain, own)] == [False, True]
    spec = specs.arcface("made", dim=512, space="made")
    crops = np.random.default_rng(2).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    found = []
    for file in (plain, own):
        onnx.save(face_graph.embedder(file, spec), str(tmp_path / "made.onnx"))
        found.append(graph.Session(tmp_path / "made.onnx").run({"pixels": crops})["face_features"])
    assert np.abs(found[0] - found[1]).max() < 1e-5
    assert np.abs(np.linalg.norm(found[0], axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize("dim", [128, 192, 512])
def test_an_embedder_may_have_any_dimension(job: Job, tmp_path: Path, dim: int) -> None:
    home = tmp_path / "weights" / "mine"
    detector(home / "det.onnx")
    embedder(home / "own.onnx", dim=dim, batch=1)
    outcome, models = exported(job, tmp_path / "weights", "mine")
    assert outcome.failures == {}
    assert models.spec("face-mine-embedder").outputs[0].shape == (dim,)


def test_the_candidates_come_best_first_and_in_model_pixels(tmp_path: Path) -> None:
    file, spec = detector(tmp_path / "det.onnx"), specs.scrfd("made")
    onnx.save(face_graph.detector(file, spec), str(tmp_path / "made.onnx"))
    photo = parity.pictures(1)[0]
    frame = scrfd.frame_for(photo.height, photo.width, specs.FACE_BUCKETS[1])
    found = graph.Session(tmp_path / "made.onnx").run({"pixels": scrfd.framed(photo, frame)[None]})
    assert {name: values.shape[1:] for name, values in found.items()} == {tensor.name: tensor.shape for tensor in spec.outputs}
    assert (np.diff(found["scores"][0]) <= 0).all()


def test_an_unchanged_pack_is_not_exported_again(job: Job, tmp_path: Path) -> None:
    pack(tmp_path / "weights" / "mine", detects="own", embeds="own_too")
    work = job(tmp_path / "weights")
    first = run.export(sources.face.pack("mine"), work)
    made = {name: (work.repository / name / manifests.GRAPH).stat().st_mtime_ns for name in first.manifests}
    assert run.export(sources.face.pack("mine"), work).failures == {}
    assert {name: (work.repository / name / manifests.GRAPH).stat().st_mtime_ns for name in made} == made
    embedder(tmp_path / "weights" / "mine" / "own_too.onnx", dim=64)
    assert run.export(sources.face.pack("mine"), work).failures == {}
    assert ModelRepository(work.repository).spec("face-mine-embedder").outputs[0].shape == (64,)
