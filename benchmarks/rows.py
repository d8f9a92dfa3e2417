"""The store: results written, vectors searched, files registered."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import count
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from benchmarks import fill
from benchmarks.bench import Bench
from benchmarks.figures import RATIO, BenchmarkError, Figure, ratios
from benchmarks.rounds import Side, interleaved
from benchmarks.workspace import OPERATIONS, sql
from kizu_fast.domain import LIBRARY_OWNER, Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.store import FoundFile
from kizu_fast.store.fractions import to_fractions
from kizu_fast.store.library import Library

SUITE = "store"
_SPACE, _DETECTOR = "benchmark/p1", "benchmark"
_BATCH = 64
_OBJECTS = 5  # per photo
_WIDTH, _HEIGHT = 4032, 3024
_SEARCHES, _HITS = 25, 20
_FILES = 500  # per register call, as ingest does it


async def run(bench: Bench) -> None:
    """Each part in a database of its own."""
    workspace = await bench.workspace()
    async with workspace.library("store_settle") as library:
        await _settle(bench, library)
    async with workspace.library("store_search") as library:
        await _search(bench, library)
    async with workspace.library("store_ingest") as library:
        await _register(bench, library)


# ---------------------------------------------------------------- results
async def _settle(bench: Bench, library: Library) -> None:
    """Results.settle in groups of 64, over plain COPY of the same rows into the same kind of tables."""
    photos = _BATCH * (2 if bench.smoke else 10)
    assets = await fill.assets(library, LIBRARY_OWNER, photos, queued=False)
    vectors = fill.unit_vectors(photos, 1)
    results = [_result(vector, seed) for seed, vector in enumerate(vectors)]
    space = await library.spaces.ensure_space(_SPACE, fill.DIM)

    async def settle() -> float:
        await library.queue.enqueue(LIBRARY_OWNER, assets, OPERATIONS)
        jobs = await _claimed(library, photos)
        started = time.perf_counter()
        for first in range(0, photos, _BATCH):
            settled = await library.results.settle(list(zip(jobs[first : first + _BATCH], results[first : first + _BATCH], strict=True)))
            if len(settled.completed) != min(_BATCH, photos - first):
                raise BenchmarkError(
                    f"settle completed {len(settled.completed)} of {_BATCH} jobs: {next(iter(settled.failed.values()), 'leases were lost')}"
                )
        return photos / (time.perf_counter() - started)

    async def copy() -> float:
        await library.database.pool.execute(sql("copy_targets"))
        started = time.perf_counter()
        for first in range(0, photos, _BATCH):
            await _copy(library, space, assets[first : first + _BATCH], results[first : first + _BATCH])
        return photos / (time.perf_counter() - started)

    sides = {"settle": settle, "copy": copy}
    found = await interleaved(sides, bench.times(7), bench.meter())
    foreign, rate = tuple(found.foreign), found.of("settle")
    note = "replacing earlier results, completion and fence included"
    bench.record(Figure(SUITE, f"settle in groups of {_BATCH}: embeddings", "rows/s", rate, foreign=foreign, note=note))
    bench.record(Figure(SUITE, f"settle in groups of {_BATCH}: objects", "rows/s", tuple(one * _OBJECTS for one in rate), foreign=foreign))
    bench.record(Figure(SUITE, "plain COPY: embeddings with their objects", "photos/s", found.of("copy"), foreign=foreign))
    bench.record(Figure(SUITE, "settle over plain COPY", RATIO, ratios(rate, found.of("copy")), foreign=foreign))


async def _claimed(library: Library, jobs: int) -> list[Job]:
    found: list[Job] = []
    while len(found) < jobs and (more := await library.queue.claim("benchmark", _BATCH, 120)):
        found += more
    return found


def _result(vector: NDArray[np.float32], seed: int) -> PhotoResult:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.5, (_OBJECTS, 2)) * (_WIDTH, _HEIGHT)
    boxes = np.hstack([corners, corners + rng.uniform(20, 900, (_OBJECTS, 2))]).astype(np.float32)
    scores = np.sort(rng.uniform(0.25, 1, _OBJECTS).astype(np.float32))[::-1]
    found = Detections(boxes, scores, rng.integers(0, 80, _OBJECTS), tuple(f"label{n}" for n in rng.integers(0, 80, _OBJECTS)))
    facts = PhotoFacts(_WIDTH, _HEIGHT, mime_type="image/jpeg")
    models = {Operation.EMBEDDING: _SPACE, Operation.OBJECTS: _DETECTOR}
    return PhotoResult(facts, 2_500_000, 1_700_000_000_000_000_000, None, Embedding(_SPACE, vector), found, models=models)


async def _copy(library: Library, space: int, assets: Sequence[UUID], results: Sequence[PhotoResult]) -> None:
    vectors = [(asset, space, LIBRARY_OWNER, result.embedding.vector) for asset, result in zip(assets, results, strict=True) if result.embedding]
    objects = [
        (asset, LIBRARY_OWNER, _DETECTOR, int(class_id), label, float(score), box)
        for asset, result in zip(assets, results, strict=True)
        if result.objects is not None
        for box, score, class_id, label in zip(
            to_fractions(result.objects.boxes_xyxy, _WIDTH, _HEIGHT).tolist(),
            result.objects.scores,
            result.objects.class_ids,
            result.objects.labels,
            strict=True,
        )
    ]
    columns = ("asset_id", "user_id", "model", "class_id", "label", "confidence", "bbox")
    async with library.database.transaction() as connection:
        await connection.copy_records_to_table("bench_embeddings", records=vectors, columns=("asset_id", "model_id", "user_id", "embedding"))
        await connection.copy_records_to_table("bench_objects", records=objects, columns=columns)


# ---------------------------------------------------------------- search
async def _search(bench: Bench, library: Library) -> None:
    """Exact search in two users' libraries of one database: the small one must not pay for its neighbour."""
    sizes = (200, 1_000) if bench.smoke else (1_000, 20_000)
    users = {size: uuid5(LIBRARY_OWNER, str(size)) for size in sizes}
    for size, user in users.items():
        assets = await fill.assets(library, user, size, queued=False)
        await fill.embeddings(library, user, assets, _SPACE, seed=size)
    queries = fill.unit_vectors(_SEARCHES, 7)
    sides: dict[str, Side] = {str(size): partial(_asked, library, user, queries) for size, user in users.items()}
    found = await interleaved(sides, bench.times(5), bench.meter())
    foreign = tuple(found.foreign)
    for size in sizes:
        bench.record(Figure(SUITE, f"exact search, {size:,} vectors: p50", "ms", found.of(str(size)), foreign=foreign))
    few, many = ([one / size for one in found.of(str(size))] for size in sizes)
    name = f"exact search: cost per vector among {sizes[0]:,} over that among {sizes[-1]:,}"
    bench.record(Figure(SUITE, name, RATIO, ratios(few, many), foreign=foreign))


async def _asked(library: Library, user: UUID, queries: NDArray[np.float32]) -> float:
    """Median milliseconds of a search for the best 20."""
    times = []
    for query in queries:
        started = time.perf_counter()
        hits = await library.search.by_vector(user, _SPACE, query, _HITS)
        times.append(1000 * (time.perf_counter() - started))
        if len(hits) != _HITS:
            raise BenchmarkError(f"search found {len(hits)} photos instead of {_HITS}")
    return statistics.median(times)


# ---------------------------------------------------------------- ingest
async def _register(bench: Bench, library: Library) -> None:
    """Assets.register: new files, then the same files again, as an ingest of a known folder."""
    files = _FILES * (1 if bench.smoke else 6)
    numbers = count()

    async def new_then_known() -> tuple[float, float]:
        round_number = next(numbers)
        found = [_file(round_number * files + number) for number in range(files)]
        return await _registered(library, found), await _registered(library, [replace(file, facts=None) for file in found])

    await new_then_known()
    meter = bench.meter()
    rates = [await new_then_known() for _ in range(bench.times(5))]
    foreign = (meter.share(),)
    bench.record(Figure(SUITE, f"register new files, {_FILES} a call", "files/s", tuple(new for new, _ in rates), foreign=foreign))
    bench.record(Figure(SUITE, f"register known files, {_FILES} a call", "files/s", tuple(known for _, known in rates), foreign=foreign))


async def _registered(library: Library, found: Sequence[FoundFile]) -> float:
    started = time.perf_counter()
    for first in range(0, len(found), _FILES):
        await library.assets.register(LIBRARY_OWNER, found[first : first + _FILES], OPERATIONS)
    return len(found) / (time.perf_counter() - started)


def _file(number: int) -> FoundFile:
    digest = sha256(number.to_bytes(8, "big")).digest()
    return FoundFile(
        f"/photos/{number:08}.jpg".encode(), 2_500_000, 1_700_000_000_000_000_000, digest, PhotoFacts(_WIDTH, _HEIGHT, mime_type="image/jpeg")
    )
