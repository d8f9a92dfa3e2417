"""The queue alone: how many jobs one worker can claim and complete, and whether a long queue slows it."""

import json
import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from benchmarks import fill
from benchmarks.bench import Bench
from benchmarks.figures import RATIO, Figure, ratios
from benchmarks.rounds import Side, interleaved
from benchmarks.workspace import OPERATIONS, sql
from kizu_fast.domain import LIBRARY_OWNER
from kizu_fast.store.library import Library

SUITE = "queue"
BATCH = 64
_LEASE_S = 120.0
_SUMMARY = json.dumps({"embedding": {"model": "open_clip/ViT-B-32/openai", "items": 1}, "objects": {"model": "yolov8m", "items": 5}})


async def run(bench: Bench) -> None:
    """Throughput of claim + complete, and 1,000 against 100,000 pending jobs in turns."""
    few, many, rounds = (256, 2_000, bench.times(2)) if bench.smoke else (1_000, 100_000, bench.times(25))
    per_round = BATCH * (2 if bench.smoke else 10)
    workspace = await bench.workspace()
    async with workspace.library("queue_few") as short, workspace.library("queue_many") as long:
        bench.say(f"filling two queues with {few:,} and {many:,} jobs")
        await fill.assets(short, LIBRARY_OWNER, few, queued=True)
        await fill.assets(long, LIBRARY_OWNER, many, queued=True)
        sides: dict[str, Side] = {"few": partial(_drained, short, per_round), "many": partial(_drained, long, per_round)}
        found = await interleaved(sides, rounds, bench.meter())
        foreign = tuple(found.foreign)
        for name, count in (("few", few), ("many", many)):
            bound = None if bench.smoke else 3000.0
            title = f"claim + complete in batches of {BATCH}, {count:,} pending"
            bench.record(
                Figure(SUITE, title, "jobs/s", found.of(name), at_least=bound, foreign=foreign, note="each job claimed and completed, one worker")
            )
        of_few = ratios(found.of("many"), found.of("few"))
        bench.record(Figure(SUITE, f"{many:,} over {few:,} pending jobs", RATIO, of_few, at_least=None if bench.smoke else 0.8, foreign=foreign))


async def _drained(library: Library, jobs: int) -> float:
    rate = await drain(library, jobs)
    await _refill(library)
    return rate


async def drain(library: Library, jobs: int) -> float:
    """Jobs per second, claimed and completed one batch after the other, each in a transaction of its own."""
    started = time.perf_counter()
    done = 0
    while done < jobs:
        claimed = await library.queue.claim("benchmark", BATCH, _LEASE_S)
        done += len(await complete(library, [job.id for job in claimed], [job.lease_token for job in claimed]))
        if not claimed:
            break
    return done / (time.perf_counter() - started)


async def complete(library: Library, ids: Sequence[UUID], tokens: Sequence[int]) -> list[UUID]:
    """The statement that ends every settle, without results before it."""
    return [row["id"] for row in await library.database.fetch("complete", ids, tokens, [_SUMMARY] * len(ids))]


async def _refill(library: Library) -> None:
    """As many pending jobs as before, no ended ones, no dead rows: the same table for every round."""
    assets = [row["asset_id"] for row in await library.database.pool.fetch(sql("finished_assets"))]
    await library.database.pool.execute(sql("drop_finished"))
    await library.queue.enqueue(LIBRARY_OWNER, assets, OPERATIONS)
    await library.queue.purge()
