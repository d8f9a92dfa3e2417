"""The export itself: what is current stays, what is not is built beside it, proved, and put in its place."""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from export import configs, install, weights
from export import manifest as manifests
from export.digests import digest
from export.download import Downloader
from export.manifest import Manifest
from export.quiet import quiet
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast.errors import ConfigError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the export. source: official, random, a weights folder, or None = whatever trained weights are installed, else official."""

    repository: Path
    cache: Path
    source: str | Path | None
    downloader: Downloader
    say: Say


@dataclass(slots=True)
class Outcome:
    """What is installed now, and why what is missing is missing."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def export(models: Sequence[Wanted], job: Job) -> Outcome:
    """Bring all models up to date. A model that cannot be had is in failures and does not hold up the others."""
    outcome = Outcome()
    with install.alone(job.repository):
        for original, group in groupby(models, key=lambda wanted: wanted.original):
            _export_group(original, list(group), job, outcome)
    return outcome


def _export_group(original: Original, group: list[Wanted], job: Job, outcome: Outcome) -> None:
    """The models that share weights: loaded once."""
    try:
        stale = list(_stale(group, job, outcome))
        if not stale:
            return
        found = weights.find(original, job.source or weights.OFFICIAL, job.cache, job.downloader)
        job.say(f"{', '.join(wanted.name for wanted in stale)}: exporting from {found.path or 'seeded random weights'}")
        with quiet():
            for wanted, result in _build_all(original, stale, found, job):
                if isinstance(result, ConfigError):
                    outcome.failures[wanted.name] = str(result)
                else:
                    outcome.manifests[wanted.name] = result
    except ConfigError as error:
        outcome.failures.update({wanted.name: str(error) for wanted in group if wanted.name not in outcome.manifests})
    except OSError as error:
        reason = f"{error.filename or job.repository}: {error.strerror or error}; what was installed before is still there"
        outcome.failures.update({wanted.name: reason for wanted in group if wanted.name not in outcome.manifests})


def _stale(group: Iterable[Wanted], job: Job, outcome: Outcome) -> Iterator[Wanted]:
    for wanted in group:
        manifest = current(wanted, job)
        if manifest is None:
            yield wanted
        else:
            job.say(f"{wanted.name}: up to date ({manifest['source']} weights)")
            outcome.manifests[wanted.name] = manifest


def current(wanted: Wanted, job: Job) -> Manifest | None:
    """The installed manifest if exporting again would give the same, else None. Imports no heavy library.

    Raises ConfigError when the weights folder asked for does not hold this model.
    """
    file = None if wanted.original.random or not isinstance(job.source, Path) else weights.in_folder(wanted.original, job.source)
    folder = job.repository / wanted.name
    manifest = manifests.read(folder)
    if manifest is None or not manifests.intact(folder, manifest):
        return None
    if manifest["inputs_hash"] != manifests.inputs_hash(wanted, manifests.weights_id(wanted.original, manifest["weights_sha256"])):
        return None
    if file is not None and weights.digest_of(file) != manifest["weights_sha256"]:
        return None
    if job.source == weights.OFFICIAL and not wanted.original.random and manifest["source"] != weights.OFFICIAL:
        return None
    return manifest


def _build_all(original: Original, stale: Sequence[Wanted], found: Weights, job: Job) -> Iterator[tuple[Wanted, Manifest | ConfigError]]:
    # torch takes seconds to import: only here, where something is to be built
    module = importlib.import_module(f"export.{original.family}")
    torch = importlib.import_module("torch")
    with torch.no_grad():
        loaded = module.load(original, found)
        for wanted in stale:
            began = time.monotonic()
            try:
                manifest = _build(module, loaded, wanted, found, job)
            except ConfigError as error:
                yield wanted, error
                continue
            figures = ", ".join(f"{key} {value:.7g}" for key, value in manifest["parity"].items() if isinstance(value, float))
            job.say(f"{wanted.name}: installed after {time.monotonic() - began:.0f} s; against the original: {figures}")
            yield wanted, manifest


def _build(module: Any, loaded: Any, wanted: Wanted, found: Weights, job: Job) -> Manifest:
    with install.staging(job.repository, wanted.name) as folder:
        built = module.build(loaded, wanted, folder, Extras(job.source or weights.OFFICIAL, job.cache, job.downloader))
        (folder / "config.pbtxt").write_text(configs.render(built.spec), encoding="utf-8")
        sha256 = found.sha256 or built.sha256
        manifest = {
            "name": wanted.name,
            "spec": built.spec.as_record(),
            "source": found.source,
            "original": str(wanted.original),
            "weights_sha256": sha256,
            "licence": found.licence,
            "onnx_sha256": digest(folder / manifests.GRAPH),
            "created_with": manifests.versions(),
            "inputs_hash": manifests.inputs_hash(wanted, manifests.weights_id(wanted.original, sha256)),
            "files": {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()},
            **built.facts,
        }
        install.install(folder, manifest, job.repository)
    return manifest
