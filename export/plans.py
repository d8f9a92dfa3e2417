"""TensorRT plans for the GPU of this machine, out of the exported graphs. Never run on a GPU by us: docs/decisions/019-accelerators.md says what was.

    python -m export --target tensorrt --precision fp16      build what is missing or stale, prove it, install it
    python -m export.plans --check [--repository DIR]         before a server starts: exit 1 when a plan is not of this machine

A plan's precision is its graph's own (strongly typed networks, the only kind since TensorRT 11): fp16 plans come from the fp16 variants.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export import configs, install
from export import manifest as manifests
from export.digests import digest
from export.run import Job, Outcome
from kizu_fast.backends import plans
from kizu_fast.backends.plans import PLAN, Machine, plans_of, refusal
from kizu_fast.backends.providers import profiles
from kizu_fast.errors import ConfigError
from kizu_fast.settings import load_settings
from kizu_fast.specs import HALF, ModelSpec, is_half

NO_TENSORRT = (
    "tensorrt is not installed here; run: pip install 'kizu-fast[tensorrt]' on the machine that has the GPU (NVIDIA's package index is needed)"
)
TIMING = ".timing-cache"


def require_machine() -> Machine:
    """The GPU and TensorRT of this machine. Raises ConfigError, in one line, when either is missing."""
    name, capability, driver = plans.gpu()
    try:
        version = importlib.import_module("tensorrt").__version__
    except ImportError as error:
        raise ConfigError(NO_TENSORRT) from error
    return Machine(gpu=name, compute_capability=capability, tensorrt=version, driver=driver)


def build_all(exported: Outcome, job: Job) -> Outcome:
    """Plans of every exported model: of its fp16 variant where the call asked for one, else of the fp32 graph. Failures join the others."""
    here = require_machine()
    outcome = Outcome(dict(exported.manifests), dict(exported.failures))
    halved = {manifest["half_of"] for manifest in exported.manifests.values() if "half_of" in manifest}
    with install.alone(plans_of(job.repository)):
        for name, manifest in exported.manifests.items():
            if name in halved:
                continue
            if ModelSpec.from_record(manifest["spec"]).family in configs.WITHOUT_TENSORRT:
                job.say(f"plan {name}: none is built, its loop runs by onnxruntime: serve it from {job.repository}")
                continue
            try:
                outcome.manifests[f"{name} plan"] = _current(manifest, here, job) or _build(manifest, here, job)
            except ConfigError as error:
                outcome.failures[f"{name} plan"] = str(error)
            except OSError as error:
                outcome.failures[f"{name} plan"] = f"{error.filename or job.repository}: {error.strerror or error}"
    return outcome


def refusals(repository: Path, here: Machine) -> Iterator[str]:
    """One line per plan that must not serve on this machine. A broken manifest is one too."""
    for folder in sorted(path.parent for path in plans_of(repository).glob(f"*/{plans.MANIFEST}")):
        try:
            plan = plans.read(folder)
            graph = repository / str(plan.get("graph")) / manifests.GRAPH
            found = refusal(folder, here, digest(graph) if graph.is_file() else None)
        except ConfigError as error:
            found = str(error)
        if found:
            yield found


def _current(manifest: Mapping[str, Any], here: Machine, job: Job) -> Mapping[str, Any] | None:
    folder = plans_of(job.repository) / manifest.get("half_of", manifest["name"])
    if not folder.is_dir():
        return None
    try:
        found = refusal(folder, here, manifest["onnx_sha256"])
    except ConfigError as error:
        found = str(error)
    plan = {} if found else plans.read(folder)
    if found or plan["graph"] != manifest["name"]:
        job.say(found or f"plan {folder.name} is of {plan['graph']}")
        return None
    job.say(f"plan {folder.name}: up to date for {here.gpu}")
    return plan


def _build(manifest: Mapping[str, Any], here: Machine, job: Job) -> Mapping[str, Any]:
    engine = importlib.import_module("export.engine")  # imports tensorrt
    spec, began = ModelSpec.from_record(manifest["spec"]), time.monotonic()
    served = replace(spec, name=manifest.get("half_of", spec.name))
    graph, target = job.repository / spec.name / manifests.GRAPH, plans_of(job.repository)
    job.say(f"plan {served.name}: building for {here.gpu}, compute capability {here.compute_capability}, TensorRT {here.tensorrt}; takes minutes")
    with install.staging(target, served.name) as folder:
        (folder / PLAN).parent.mkdir(parents=True, exist_ok=True)
        (folder / PLAN).write_bytes(engine.build(graph, profiles(spec), target / TIMING, lambda text: job.say(f"plan {served.name}: {text}")))
        figures = engine.agreement(folder / PLAN, graph, spec)
        engine.demand(served.name, spec, figures)
        (folder / "config.pbtxt").write_text(configs.render(served, "tensorrt"), encoding="utf-8")
        kept = {key: manifest[key] for key in ("source", "original", "weights_sha256", "licence", "onnx_sha256")}
        written = {
            **kept,
            "name": served.name,
            "spec": served.as_record(),
            "graph": spec.name,
            "precision": HALF if is_half(spec.name) else "fp32",
            "machine": asdict(here),
            "profiles": [asdict(profile) for profile in profiles(spec)],
            "created_with": manifests.versions(),
            "seconds": round(time.monotonic() - began, 1),
            "parity": figures,
        }
        install.install(folder, written, target)
    job.say(f"plan {served.name}: installed after {written['seconds']} s")
    return written


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when every plan may serve here, 1 when one may not or the machine has no GPU."""
    parser = argparse.ArgumentParser(prog="python -m export.plans", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", required=True)
    parser.add_argument("--repository", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        found = list(refusals(options.repository or load_settings().model_repository, require_machine()))
    except ConfigError as error:
        found = [str(error)]
    for line in found:
        sys.stderr.write(f"plans: {line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
