"""What one worker did, as numbers: the JSON of --report."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kizu_fast.backends.memory import peak_resident_bytes
from kizu_fast.engine import EngineStats
from kizu_fast.lanes import StageTime


@dataclass(slots=True)
class Tally:
    """Counts while the worker runs."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, StageTime] = field(default_factory=dict)
    claims: StageTime = field(default_factory=StageTime)  # asking the queue for jobs
    endings: Counter[str] = field(
        default_factory=Counter
    )  # how attempts ended: completed, failed, pending (will be retried), released, deferred, lost

    def add_stage(self, name: str, seconds: float, items: int) -> None:
        """Add to the worker's own stages (fetch, store); the engine keeps those of its lanes."""
        self.stages[name] = self.stages.get(name, StageTime()).plus(seconds, items)


def report(tally: Tally, stats: EngineStats) -> Mapping[str, object]:
    """The report's document. photos_per_second counts photos that ended; peak_rss_mb is of this process, in 10^6 bytes."""
    seconds = time.monotonic() - tally.started
    ended = tally.completed + tally.failed
    return {
        "completed": tally.completed,
        "failed": tally.failed,
        "retried": tally.retried,
        "seconds": round(seconds, 3),
        "photos_per_second": round(ended / seconds, 3) if seconds else 0.0,
        "peak_rss_mb": round(peak_resident_bytes() / 1e6, 1),
        "stages": {name: {"seconds": round(stage.seconds, 3), "items": stage.items} for name, stage in {**stats.stages, **tally.stages}.items()},
        "models": {
            name: {"inferences": model.inferences, "executions": model.executions, "seconds": round(model.seconds, 3)}
            for name, model in stats.models.items()
        },
    }


def write_whole(path: Path, document: Mapping[str, object]) -> None:
    """Write or leave alone: a reader never sees half a report. Raises OSError."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    part.replace(path)
