"""manifest.json: what a folder of the model repository holds, where it came from and how well it agrees with the original."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export import sources
from export.digests import digest
from export.wanted import Original, Wanted
from kizu_fast import specs

NAME = "manifest.json"
GRAPH = "1/model.onnx"
CONFIG = "config.pbtxt"  # may have been rendered again for another kind of server
PACKAGES = (
    "torch",
    "open_clip_torch",
    "ultralytics",
    "easyocr",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tokenizers",
    "transformers",
    "numpy",
    "pillow",
)
# The code that shapes every exported folder, beside its family's own: a change in any of them exports again.
_SHAPING = ("graph.py", "parity.py", "configs.py")

Manifest = Mapping[str, Any]


def versions() -> dict[str, str]:
    """Installed versions, without importing a package."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def inputs_hash(wanted: Wanted, weights_id: str) -> str:
    """Equal for equal work: same weights, same code of this export, same specs, same packages."""
    here = Path(__file__).parent
    code = [*(here / name for name in (*_SHAPING, *sources.of(wanted.original).SHAPING)), Path(specs.__file__)]
    parts: list[object] = [wanted.name, str(wanted.original), weights_id, versions(), *(digest(path) for path in code)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def weights_id(original: Original, weights_sha256: str) -> str:
    """What identifies the weights before anything is loaded: untrained ones follow from the seed and the packages."""
    return "seed 0" if original.random else weights_sha256


def read(folder: Path) -> Manifest | None:
    """The manifest of an installed model, None when there is none or it cannot be read."""
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def intact(folder: Path, manifest: Manifest) -> bool:
    """Whether the files that the manifest names are all there and the graph is the one it was written for."""
    try:
        files = {name: (folder / name).stat().st_size for name in manifest["files"]}
        kept = all(size == manifest["files"][name] for name, size in files.items() if name != CONFIG)
        return bool(kept and digest(folder / GRAPH) == manifest["onnx_sha256"])
    except (OSError, KeyError, TypeError):
        return False
