"""One contract, two stores: whatever PostgreSQL promises, the fake in memory keeps, and the other way round."""

from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from samples import ALICE, BOB, BOTH, SPACE, YOLO, Stores, axis, claim_all, complete_all, detections, file, registered, result, sha, unit
from stores import memory_stores, postgres_stores

from kizu_fast.domain import PhotoFacts
from kizu_fast.errors import ConfigError, ImageTooLarge, ImageUnreadable, PermanentError, TransientError
from kizu_fast.store import Registered


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    return memory_stores() if request.param == "memory" else postgres_stores(request.getfixturevalue("database"))


# ---------------------------------------------------------------- the queue


async def test_a_claim_carries_the_facts_of_its_asset(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], BOTH)

    (job,) = await claim_all(stores)

    assert (job.asset.user_id, job.asset.path, job.asset.sha256) == (ALICE, b"/photos/a.jpg", sha("a"))
    assert (job.asset.width, job.asset.height, job.asset.byte_size) == (400, 200, 1)
    assert job.asset.mtime_ns == file("/photos/a.jpg", "a").mtime_ns
    assert (set(job.operations), job.attempts, job.max_attempts, job.lease_token) == (set(BOTH), 1, 3, 1)


async def test_a_claim_can_leave_out_jobs_that_ask_for_nothing_but_slow_operations(stores: Stores) -> None:
    slow = await registered(stores, 3, ("describe",), name="slow")
    mixed = await registered(stores, 2, ("describe", "embedding"), name="mixed")
    fast = await registered(stores, 2, ("embedding",), name="fast")

    claimed = await stores.queue.claim("w", 100, 60, without=["describe"])
    assert {job.asset.id for job in claimed} == {*mixed, *fast}
    assert await stores.queue.claim("w", 100, 60, ["embedding"], without=["describe"]) == []

    rest = await stores.queue.claim("w", 100, 60, ["describe"])
    assert {job.asset.id for job in rest} == set(slow)


async def test_what_a_job_puts_off_is_queued_with_its_results_or_not_at_all(stores: Stores) -> None:
    await registered(stores, 1, ("embedding", "describe"))
    (job,) = await claim_all(stores)
    lost = replace(job, lease_token=job.lease_token + 1)

    assert (await stores.results.settle([(lost, replace(result(lost, axis(0)), postponed=("describe",)))])).lost == {job.id}
    assert await stores.queue.unfinished() == 1

    settled = await stores.results.settle([(job, replace(result(job, axis(0)), postponed=("describe",)))])
    assert settled.completed == {job.id}
    (later,) = await claim_all(stores)
    assert (later.asset.id, later.operations, later.id != job.id) == (job.asset.id, ("describe",), True)


async def test_what_was_put_off_joins_a_job_that_waits_already(stores: Stores) -> None:
    (asset,) = await registered(stores, 1, ("embedding", "describe"))
    (job,) = await claim_all(stores)
    await stores.queue.enqueue(ALICE, [asset], ["objects"])

    await stores.results.settle([(job, replace(result(job, axis(0)), postponed=("describe",)))])

    (later,) = await claim_all(stores)
    assert set(later.operations) == {"objects", "describe"}


async def test_a_failed_operation_does_not_take_what_was_put_off_with_it(stores: Stores) -> None:
    await registered(stores, 1, ("embedding", "describe"))
    (job,) = await claim_all(stores)

    settled = await stores.results.settle([(job, replace(result(job, failures={"embedding": PermanentError("no")}), postponed=("describe",)))])

    assert set(settled.failed) == {job.id}
    (later,) = await claim_all(stores)
    assert later.operations == ("describe",)


async def test_a_claimed_job_is_claimed_once(stores: Stores) -> None:
    await registered(stores, 5)

    first, second = await claim_all(stores, limit=3), await claim_all(stores)

    assert (len(first), len(second)) == (3, 2)
    assert not {job.id for job in first} & {job.id for job in second}
    assert await claim_all(stores) == []


async def test_a_worker_without_all_models_claims_only_what_it_can_do(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], ["embedding"])
    await stores.assets.register(ALICE, [file("/photos/b.jpg", "b")], BOTH)

    jobs = await stores.queue.claim("w", 10, 60, ["embedding"])

    assert [job.operations for job in jobs] == [("embedding",)]
    assert await stores.queue.unfinished() == 2
    assert await stores.queue.unfinished(["embedding"]) == 1


async def test_an_operation_of_another_version_is_passed_through(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], ["hologram"])

    (job,) = await claim_all(stores)

    assert job.operations == ("hologram",)


async def test_urgent_jobs_are_claimed_first(stores: Stores) -> None:
    ids = await registered(stores, 3)
    await stores.queue.enqueue(ALICE, [ids[2]], BOTH, priority=1)

    (job,) = await claim_all(stores, limit=1)

    assert job.asset.id == ids[2]


async def test_a_heartbeat_tells_what_is_still_owned(stores: Stores) -> None:
    await registered(stores, 2)
    kept, lost = await claim_all(stores, lease_s=10)
    await stores.queue.release([lost])

    assert await stores.queue.heartbeat([kept, lost], 100) == {kept.id}
    await stores.pass_time(50)
    assert await stores.queue.reset_stale() == 0


async def test_a_transient_error_is_retried_after_a_backoff_and_fails_after_the_last_attempt(stores: Stores) -> None:
    await registered(stores, 1)
    seen = []
    for _ in range(3):
        (job,) = await claim_all(stores)
        seen.append((await stores.queue.fail([job], [TransientError("no luck")], retry=True))[job.id])
        assert await claim_all(stores) == []
        await stores.pass_time(60)

    assert seen == ["pending", "pending", "failed"]
    assert await stores.queue.counts(ALICE) == await _counts(stores, failed=1)


async def _counts(stores: Stores, **counts: int) -> object:
    return type(await stores.queue.counts(ALICE))(**counts)


async def test_a_permanent_error_fails_at_once_with_its_reason_on_one_line(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)

    assert await stores.queue.fail([job], [PermanentError("broken\n  file\0" + "x" * 3000)], retry=False) == {job.id: "failed"}

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.job is not None
    assert details.job.status == "failed"
    assert details.job.error is not None
    assert details.job.error.startswith("broken filexxx")
    assert len(details.job.error) == 2000


async def test_releasing_gives_the_attempt_back(stores: Stores) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)

    assert await stores.queue.release([job]) == {job.id}

    (again,) = await claim_all(stores)
    assert (again.id, again.attempts, again.lease_token) == (job.id, 1, 2)


async def test_deferring_gives_the_attempt_back_and_waits(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)

    assert await stores.queue.defer([job], 30, "still being copied") == {job.id}

    assert await claim_all(stores) == []
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.job is not None
    assert (details.job.status, details.job.error) == ("pending", "still being copied")
    await stores.pass_time(31)
    (again,) = await claim_all(stores)
    assert (again.id, again.attempts) == (job.id, 1)


async def test_a_lease_that_ended_is_reset_and_costs_the_attempt(stores: Stores) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores, lease_s=5)
    assert await stores.queue.reset_stale() == 0

    await stores.pass_time(6)

    assert await stores.queue.reset_stale() == 1
    await stores.pass_time(60)
    (again,) = await claim_all(stores)
    assert (again.id, again.attempts) == (job.id, 2)


async def test_a_photo_that_kills_its_workers_ends_failed(stores: Stores) -> None:
    await registered(stores, 1)
    for _ in range(3):
        assert len(await claim_all(stores, lease_s=5)) == 1
        await stores.pass_time(6)
        await stores.queue.reset_stale()
        await stores.pass_time(60)

    assert await claim_all(stores) == []
    assert (await stores.queue.counts(ALICE)).failed == 1
    assert await stores.queue.unfinished() == 0


async def test_a_stale_token_is_refused_by_every_call(stores: Stores) -> None:
    await registered(stores, 1)
    (old,) = await claim_all(stores)
    await stores.queue.release([old])
    (new,) = await claim_all(stores)

    assert await stores.queue.heartbeat([old], 60) == set()
    assert await stores.queue.fail([old], ["late"], retry=False) == {}
    assert await stores.queue.release([old]) == set()
    assert await stores.queue.defer([old], 1, "late") == set()
    settled = await stores.results.settle([(old, result(old, unit(1)))])
    assert (settled.lost, settled.completed) == ({old.id}, frozenset())
    assert await stores.queue.heartbeat([new], 60) == {new.id}


async def test_calls_without_jobs_do_nothing(stores: Stores) -> None:
    assert await stores.queue.heartbeat([], 60) == set()
    assert await stores.queue.fail([], [], retry=True) == {}
    assert await stores.queue.release([]) == set()
    assert await stores.queue.defer([], 5, "later") == set()
    assert (await stores.results.settle([])).completed == frozenset()
    assert await stores.queue.enqueue(ALICE, [], BOTH) == 0


async def test_asking_again_merges_with_the_pending_job(stores: Stores) -> None:
    (asset,) = await registered(stores, 1, ("embedding",))

    assert await stores.queue.enqueue(ALICE, [asset], ["objects"]) == 1
    assert await stores.queue.enqueue(ALICE, [asset], ["objects"]) == 0

    (job,) = await claim_all(stores)
    assert set(job.operations) == {"embedding", "objects"}


async def test_asking_for_what_is_in_process_makes_one_more_job_that_takes_a_retry_over(stores: Stores) -> None:
    (asset,) = await registered(stores, 1, ("embedding",))
    (running,) = await claim_all(stores)
    await stores.queue.enqueue(ALICE, [asset], ["objects"])

    statuses = await stores.queue.fail([running], ["again"], retry=True)

    assert statuses == {running.id: "completed"}
    (job,) = await claim_all(stores)
    assert set(job.operations) == {"embedding", "objects"}


async def test_nobody_queues_the_photos_of_another_user(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)

    assert await stores.queue.enqueue(BOB, [asset], BOTH) == 0
    assert await stores.queue.unfinished() == 0


async def test_weights_that_arrive_later_queue_what_lacks_them(stores: Stores) -> None:
    ids = await registered(stores, 3)
    await complete_all(stores)

    assert await stores.queue.queue_missing(ALICE, "embedding", SPACE) == 0
    assert await stores.queue.queue_missing(BOB, "embedding", "new/space") == 0
    assert await stores.queue.queue_missing(None, "embedding", "new/space") == 3
    assert await stores.queue.queue_missing(ALICE, "embedding", "new/space") == 0
    jobs = await claim_all(stores)
    assert {job.asset.id for job in jobs} == set(ids)
    assert {job.operations for job in jobs} == {("embedding",)}


async def test_photos_that_cannot_be_decoded_are_not_queued_for_new_weights(stores: Stores) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.queue.fail([job], [ImageUnreadable("no picture")], retry=False)

    assert await stores.queue.queue_missing(ALICE, "embedding", "new/space") == 0


async def test_purging_leaves_what_is_recent(stores: Stores) -> None:
    await registered(stores, 2)
    await complete_all(stores)

    assert await stores.queue.purge() == 0
    assert (await stores.queue.counts(ALICE)).completed == 2


# ---------------------------------------------------------------- results


async def test_results_and_completion_come_together(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)

    settled = await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5), ("cat", 0.75))))])

    assert (settled.completed, dict(settled.failed), settled.lost) == ({job.id}, {}, frozenset())
    details = await stores.assets.details(ALICE, asset, vectors=True)
    assert details is not None
    assert details.job is not None
    assert details.embedding is not None
    assert (details.job.status, details.job.error) == ("completed", None)
    assert (details.embedding.model, details.embedding.dim) == (SPACE, 8)
    assert details.embedding.vector == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0])
    assert [(found.label, found.score) for found in details.objects] == [("cat", 0.75), ("dog", 0.5)]
    assert details.objects[0].box == pytest.approx((101, 50, 301, 150), abs=1e-3)


async def test_a_second_run_replaces_the_results_of_the_first(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    await stores.queue.enqueue(ALICE, [asset], BOTH)
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, axis(3), detections(("cat", 0.5)), model="yolov8m"))])

    details = await stores.assets.details(ALICE, asset, vectors=True)
    assert details is not None
    assert details.embedding is not None
    assert [found.label for found in details.objects] == ["cat"]
    assert details.embedding.vector == pytest.approx(axis(3).tolist())
    assert await stores.queue.queue_missing(ALICE, "objects", "yolov8m") == 0
    assert await stores.queue.queue_missing(ALICE, "objects", YOLO) == 1


async def test_an_operation_that_was_not_asked_for_keeps_its_results(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    await stores.queue.enqueue(ALICE, [asset], ["embedding"])
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, axis(1)))])

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert [found.label for found in details.objects] == ["dog"]


async def test_no_object_found_is_a_result(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    await stores.queue.enqueue(ALICE, [asset], ["objects"])
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, objects=detections()))])

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.objects == ()
    assert await stores.queue.queue_missing(ALICE, "objects", YOLO) == 0


async def test_one_failed_operation_keeps_the_others_results_and_fails_the_job(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)

    settled = await stores.results.settle([(job, result(job, axis(0), failures={"objects": PermanentError("too odd")}))])

    assert settled.completed == frozenset()
    assert str(settled.failed[job.id]) == "objects: too odd"
    assert await stores.queue.fail([job], [settled.failed[job.id]], retry=False) == {job.id: "failed"}
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.job is not None
    assert details.embedding is not None
    assert (details.job.status, details.job.error) == ("failed", "objects: too odd")


async def test_one_bad_row_fails_alone(stores: Stores) -> None:
    await registered(stores, 4)
    jobs = await claim_all(stores)
    bad = {jobs[1].id: np.full(8, np.nan, np.float32), jobs[2].id: np.full(8, 0.5, np.float32)}

    settled = await stores.results.settle([(job, result(job, bad.get(job.id, axis(0)))) for job in jobs])

    assert settled.completed == {jobs[0].id, jobs[3].id}
    assert settled.failed.keys() == bad.keys()
    assert jobs[1].asset.path.decode() in str(settled.failed[jobs[1].id])
    assert "length 1.4142 instead of 1" in str(settled.failed[jobs[2].id])
    assert await stores.queue.heartbeat(jobs, 60) == set(bad)


async def test_a_file_that_became_the_copy_of_another_fails_alone_with_a_clear_line(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file(f"/photos/{word}.jpg", word) for word in "abc"], BOTH)
    jobs = await claim_all(stores)
    changed = next(job for job in jobs if job.asset.path == b"/photos/b.jpg")

    settled = await stores.results.settle([(job, result(job, axis(0), word="a" if job is changed else None)) for job in jobs])

    assert len(settled.completed) == 2
    assert list(settled.failed) == [changed.id]
    assert "/photos/b.jpg changed: its bytes are now those of another photo" in str(settled.failed[changed.id])


async def test_what_the_file_said_when_it_was_read_is_kept(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a", None)], BOTH)
    (job,) = await claim_all(stores)
    assert (job.asset.width, job.asset.height) == (None, None)

    await stores.results.settle([(job, result(job, axis(0), word="a later"))])

    asset = await stores.assets.by_path(ALICE, b"/photos/a.jpg")
    assert asset is not None
    assert (asset.width, asset.height, asset.sha256, asset.mtime_ns) == (400, 200, sha("a later"), 5)
    known = await stores.assets.known_paths(ALICE, b"/photos")
    assert (known[b"/photos/a.jpg"].sha256, known[b"/photos/a.jpg"].byte_size) == (sha("a later"), 10)


async def test_bytes_that_changed_before_a_later_job_void_what_it_does_not_redo(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    await stores.queue.enqueue(ALICE, [asset], ["embedding"])
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, axis(1), word="other"))])

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.objects == ()
    (again,) = await claim_all(stores)
    assert again.operations == ("objects",)


# ---------------------------------------------------------------- spaces


async def test_a_space_is_made_once_and_keeps_its_width(stores: Stores) -> None:
    first = await stores.spaces.ensure_space("s/512", 512)

    assert await stores.spaces.ensure_space("s/512", 512) == first
    assert await stores.spaces.ensure_space("s/768", 768) != first
    with pytest.raises(ConfigError, match="s/512 holds image vectors of 512 numbers, not image vectors of 768"):
        await stores.spaces.ensure_space("s/512", 768)


async def test_search_switches_to_a_new_space_when_it_is_whole(stores: Stores) -> None:
    await registered(stores, 2)
    await complete_all(stores)
    assert not await stores.spaces.activate_if_whole("never/seen")
    assert await stores.spaces.activate_if_whole(SPACE)
    await stores.spaces.ensure_space("new/space", 4)
    await stores.queue.queue_missing(ALICE, "embedding", "new/space")
    first, second = await claim_all(stores)

    await stores.results.settle([(first, result(first, axis(0, 4), space="new/space"))])
    assert not await stores.spaces.activate_if_whole("new/space")
    space = await stores.spaces.active_space()
    assert space is not None
    assert (space.name, (await stores.assets.counts(ALICE)).embeddings) == (SPACE, 2)

    await stores.results.settle([(second, result(second, axis(1, 4), space="new/space"))])
    assert await stores.spaces.activate_if_whole("new/space")
    assert await stores.spaces.activate_if_whole("new/space")
    space = await stores.spaces.active_space()
    assert space is not None
    assert (space.name, space.dim, (await stores.assets.counts(ALICE)).embeddings) == ("new/space", 4, 2)


async def test_a_photo_that_fails_for_good_does_not_hold_up_the_switch(stores: Stores) -> None:
    await registered(stores, 2)
    await complete_all(stores)
    await stores.spaces.activate_if_whole(SPACE)
    await stores.queue.queue_missing(ALICE, "embedding", "new/space")
    first, second = await claim_all(stores)

    settled = await stores.results.settle(
        [(first, result(first, axis(0), space="new/space")), (second, result(second, failures={"embedding": PermanentError("no vector")}))]
    )

    assert settled.failed.keys() == {second.id}
    assert await stores.spaces.activate_if_whole("new/space")


# ---------------------------------------------------------------- the library


async def test_new_files_are_registered_and_queued(stores: Stores) -> None:
    files = [file(f"/photos/{number}.jpg", str(number)) for number in range(3)]

    assert await stores.assets.register(ALICE, files, BOTH) == Registered(registered=3, queued=3)

    counts = await stores.assets.counts(ALICE)
    assert (counts.assets, counts.queue.pending) == (3, 3)
    assert {job.operations for job in await claim_all(stores)} == {BOTH}


async def test_the_same_files_again_are_known_and_not_queued_while_their_job_waits(stores: Stores) -> None:
    files = [file(f"/photos/{number}.jpg", str(number)) for number in range(3)]
    await stores.assets.register(ALICE, files, BOTH)

    assert await stores.assets.register(ALICE, files, BOTH) == Registered(known=3)
    await claim_all(stores)
    assert await stores.assets.register(ALICE, files, BOTH) == Registered(known=3)


async def test_a_done_file_is_queued_only_for_what_it_lacks(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], ["embedding"])
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(0)))])

    assert (await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], ["embedding"])).queued == 0
    assert (await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], BOTH)).queued == 1

    (again,) = await claim_all(stores)
    assert again.operations == ("objects",)


@pytest.mark.parametrize(
    ("error", "queued"), [(ImageUnreadable("no picture"), 0), (ImageTooLarge("raise KIZU_MAX_PIXELS"), 1), ("the file is missing", 1)]
)
async def test_only_unreadable_bytes_are_remembered_as_a_failure_for_good(stores: Stores, error: PermanentError | str, queued: int) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.queue.fail([job], [error], retry=False)
    again = file("/photos/photo00000.jpg", f"{ALICE}photo0")

    assert await stores.assets.register(ALICE, [again], BOTH) == Registered(known=1, queued=queued)


async def test_byte_identical_files_are_one_asset_under_every_path(stores: Stores) -> None:
    counts = await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/copy.jpg", "a")], BOTH)

    assert counts == Registered(registered=1, known=1, queued=1)
    first, second = await stores.assets.by_path(ALICE, b"/photos/a.jpg"), await stores.assets.by_path(ALICE, b"/photos/copy.jpg")
    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert await stores.assets.copies(ALICE, [sha("a"), sha("nobody")]) == {sha("a"): [b"/photos/a.jpg", b"/photos/copy.jpg"]}


async def test_a_moved_file_keeps_its_id(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    old = b"/photos/photo00000.jpg"

    counts = await stores.assets.register(ALICE, [file("/photos/deep/new.jpg", f"{ALICE}photo0")], BOTH, gone=[old])

    assert counts == Registered(known=1, moved=1)
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.path == "/photos/deep/new.jpg"
    assert await stores.assets.by_path(ALICE, old) is None
    assert list(await stores.assets.known_paths(ALICE, b"/")) == [b"/photos/deep/new.jpg"]


async def test_a_gone_file_is_never_taken_as_deleted(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/b.jpg", "b")], BOTH)

    await stores.assets.register(ALICE, [file("/photos/b.jpg", "b")], BOTH, gone=[b"/photos/a.jpg"])

    assert (await stores.assets.counts(ALICE)).assets == 2
    assert await stores.assets.by_path(ALICE, b"/photos/a.jpg") is not None


async def test_a_changed_file_keeps_its_id_loses_its_results_and_is_queued_for_all_it_had(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)

    counts = await stores.assets.register(ALICE, [file("/photos/photo00000.jpg", "edited")], ["objects"])

    assert counts == Registered(known=1, queued=1, changed=1)
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert (details.embedding, details.objects) == (None, ())
    (job,) = await claim_all(stores)
    assert (job.asset.id, job.asset.sha256, set(job.operations)) == (asset, sha("edited"), {"embedding", "objects"})


async def test_a_changed_copy_becomes_an_asset_of_its_own(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/copy.jpg", "a")], BOTH)

    assert await stores.assets.register(ALICE, [file("/photos/copy.jpg", "edited")], BOTH) == Registered(registered=1, queued=1)

    first, second = await stores.assets.by_path(ALICE, b"/photos/a.jpg"), await stores.assets.by_path(ALICE, b"/photos/copy.jpg")
    assert first is not None
    assert second is not None
    assert (first.sha256, second.sha256) == (sha("a"), sha("edited"))


async def test_two_files_that_swapped_names_keep_their_ids(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/b.jpg", "b")], BOTH)
    before = {sha(word): await stores.assets.by_sha256(ALICE, sha(word)) for word in "ab"}

    assert await stores.assets.register(ALICE, [file("/photos/a.jpg", "b"), file("/photos/b.jpg", "a")], BOTH) == Registered(known=2)

    swapped = await stores.assets.by_path(ALICE, b"/photos/a.jpg")
    was = before[sha("b")]
    assert swapped is not None
    assert was is not None
    assert swapped.id == was.id
    assert (await stores.assets.counts(ALICE)).assets == 2
    shown = await stores.assets.details(ALICE, was.id)
    assert shown is not None
    assert shown.path == "/photos/a.jpg"


async def test_a_file_overwritten_by_a_copy_of_another_leaves_no_asset_without_bytes(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/b.jpg", "b")], BOTH)

    await stores.assets.register(ALICE, [file("/photos/a.jpg", "b")], BOTH)

    assert (await stores.assets.counts(ALICE)).assets == 1
    assert await stores.assets.by_sha256(ALICE, sha("a")) is None
    assert {job.asset.sha256 for job in await claim_all(stores)} == {sha("b")}
    assert (await stores.assets.register(ALICE, [file("/photos/back.jpg", "a")], BOTH)).registered == 1


async def test_a_file_that_is_being_copied_is_due_later(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "half", None, settled=False)], BOTH)

    assert await claim_all(stores) == []
    await stores.pass_time(6)
    assert len(await claim_all(stores)) == 1


async def test_names_that_are_no_text_are_kept_as_they_are(stores: Stores) -> None:
    path = b"/photos/caf\xe9 \xff.jpg"

    await stores.assets.register(ALICE, [file(path, "odd")], BOTH)

    (job,) = await claim_all(stores)
    assert job.asset.path == path
    details = await stores.assets.details(ALICE, job.asset.id)
    assert details is not None
    assert details.path == path.decode("utf-8", "surrogateescape")
    assert list(await stores.assets.known_paths(ALICE, b"/photos")) == [path]


async def test_what_lies_below_a_folder_is_not_what_begins_like_it(stores: Stores) -> None:
    paths = ["/a/b/1.jpg", "/a/b/c/2.jpg", "/a/bc/3.jpg", "/a/b.jpg"]
    await stores.assets.register(ALICE, [file(path, path) for path in paths], BOTH)

    assert set(await stores.assets.known_paths(ALICE, b"/a/b")) == {b"/a/b/1.jpg", b"/a/b/c/2.jpg"}
    assert set(await stores.assets.known_paths(ALICE, b"/a/b/")) == {b"/a/b/1.jpg", b"/a/b/c/2.jpg"}
    assert set(await stores.assets.known_paths(ALICE, b"/a/b.jpg")) == {b"/a/b.jpg"}
    assert len(await stores.assets.known_paths(ALICE, b"/")) == 4
    assert await stores.assets.known_paths(BOB, b"/") == {}


async def test_every_library_has_its_own_assets(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], BOTH)
    await stores.assets.register(BOB, [file("/photos/a.jpg", "a")], BOTH)

    hers, his = await stores.assets.by_path(ALICE, b"/photos/a.jpg"), await stores.assets.by_path(BOB, b"/photos/a.jpg")

    assert hers is not None
    assert his is not None
    assert hers.id != his.id
    assert await stores.assets.by_id(BOB, hers.id) is None
    assert await stores.assets.details(BOB, hers.id) is None


async def test_registering_without_operations_is_refused(stores: Stores) -> None:
    with pytest.raises(ValueError, match="at least one operation"):
        await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], [])


async def test_details_hold_the_time_and_the_place_that_the_file_states(stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/b.jpg", "b", PhotoFacts(3, 2))], BOTH)
    first, second = [await stores.assets.by_path(ALICE, path) for path in (b"/photos/a.jpg", b"/photos/b.jpg")]
    assert first is not None
    assert second is not None

    full, bare = await stores.assets.details(ALICE, first.id), await stores.assets.details(ALICE, second.id)

    assert full is not None
    assert bare is not None
    assert (full.taken_at, full.orientation, full.width, full.height) == ("2024-05-17T14:30:05+09:00", 6, 400, 200)
    assert full.gps == pytest.approx((35.6895, 139.6917))
    assert (bare.taken_at, bare.gps, bare.place, bare.orientation, bare.width) == (None, None, None, 1, 3)


async def test_the_details_have_every_key_of_the_contract(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    details = await stores.assets.details(ALICE, asset, vectors=True)
    assert details is not None

    shown, bare = details.as_json(vectors=True), details.as_json()

    assert list(bare) == (
        ["asset_id", "path", "width", "height", "orientation", "taken_at", "gps", "place", "job", "embedding", "objects", "faces", "texts", "caption"]
    )
    assert bare["job"] == {"status": "completed", "attempts": 1, "error": None}
    assert bare["embedding"] == {"model": SPACE, "dim": 8}
    assert isinstance(shown["embedding"], dict)
    assert len(shown["embedding"]["vector"]) == 8
    assert (bare["faces"], bare["texts"], bare["caption"]) == ([], [], None)


async def test_forgetting_an_asset_removes_all_its_rows(stores: Stores) -> None:
    kept, gone = await registered(stores, 2)
    await complete_all(stores)

    forgotten = await stores.assets.forget(ALICE, [gone, uuid4()])

    assert (forgotten.assets, forgotten.paths, forgotten.jobs, forgotten.embeddings, forgotten.objects) == (1, 1, 1, 1, 1)
    assert await stores.assets.by_id(ALICE, gone) is None
    assert await stores.assets.by_id(ALICE, kept) is not None
    assert (await stores.assets.counts(ALICE)).objects == 1


async def test_nobody_forgets_the_photos_of_another_user(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)

    assert (await stores.assets.forget(BOB, [asset])).assets == 0
    assert (await stores.assets.forget_below(BOB, b"/photos")).assets == 0
    assert (await stores.assets.forget_user(BOB)).assets == 0
    assert await stores.assets.by_id(ALICE, asset) is not None


async def test_forgetting_a_folder_keeps_what_lies_elsewhere_too(stores: Stores) -> None:
    await stores.assets.register(
        ALICE, [file("/photos/old/a.jpg", "a"), file("/photos/old/b.jpg", "b"), file("/photos/new/b.jpg", "b"), file("/photos/oldest.jpg", "c")], BOTH
    )

    forgotten = await stores.assets.forget_below(ALICE, b"/photos/old")

    assert (forgotten.assets, forgotten.paths) == (1, 2)
    assert set(await stores.assets.known_paths(ALICE, b"/")) == {b"/photos/new/b.jpg", b"/photos/oldest.jpg"}
    copy = await stores.assets.by_sha256(ALICE, sha("b"))
    assert copy is not None
    assert copy.path == b"/photos/new/b.jpg"


async def test_forgetting_a_user_empties_that_library_only(stores: Stores) -> None:
    await registered(stores, 3)
    await registered(stores, 2, user=BOB)
    await complete_all(stores)

    assert (await stores.assets.forget_user(ALICE)).assets == 3

    assert (await stores.assets.counts(ALICE)).assets == 0
    assert (await stores.assets.counts(BOB)).assets == 2


async def test_forgotten_bytes_that_come_back_are_a_new_asset(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    await stores.assets.forget(ALICE, [asset])

    assert await registered(stores, 1) != [asset]
    assert len(await claim_all(stores)) == 1


async def test_an_asset_forgotten_in_process_is_lost_and_nothing_is_written(stores: Stores) -> None:
    await registered(stores, 2)
    first, second = await claim_all(stores)
    await stores.assets.forget(ALICE, [first.asset.id])

    settled = await stores.results.settle([(first, result(first, axis(0))), (second, result(second, axis(1)))])

    assert (settled.lost, settled.completed) == ({first.id}, {second.id})


async def test_roots_are_remembered_once(stores: Stores) -> None:
    await stores.assets.remember_roots([b"/b", b"/a"])
    await stores.assets.remember_roots([b"/a", b"/caf\xe9"])

    assert await stores.assets.roots() == [b"/a", b"/b", b"/caf\xe9"]


async def test_counts_are_those_of_live_photos_in_the_active_space(stores: Stores) -> None:
    await registered(stores, 3)
    await complete_all(stores)
    assert (await stores.assets.counts(ALICE)).embeddings == 0

    await stores.spaces.activate_if_whole(SPACE)

    counts = (await stores.assets.counts(ALICE)).as_json()
    assert counts == {
        "queue": {"pending": 0, "processing": 0, "completed": 3, "failed": 0},
        "assets": 3,
        "embeddings": 3,
        "faces": 0,
        "objects": 3,
        "texts": 0,
        "captions": 0,
    }


# ---------------------------------------------------------------- search


async def test_neighbours_come_best_first_with_their_cosine(stores: Stores) -> None:
    ids = await registered(stores, 3)
    jobs = {job.asset.id: job for job in await claim_all(stores)}
    vectors = [axis(0), axis(1), np.array([0.6, 0.8, 0, 0, 0, 0, 0, 0], np.float32)]
    await stores.results.settle([(jobs[asset], result(jobs[asset], vector)) for asset, vector in zip(ids, vectors, strict=True)])

    hits = await stores.search.by_vector(ALICE, SPACE, axis(0), 2)

    assert [hit.asset_id for hit in hits] == [ids[0], ids[2]]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.6], abs=1e-3)
    assert await stores.search.by_vector(BOB, SPACE, axis(0), 2) == []
    assert await stores.search.by_vector(ALICE, "other/space", axis(0), 2) == []


async def test_a_query_that_is_no_unit_vector_is_refused(stores: Stores) -> None:
    with pytest.raises(PermanentError, match=r"the query vector has length 2\.0000"):
        await stores.search.by_vector(ALICE, SPACE, 2 * axis(0), 5)


async def test_objects_are_found_by_any_label_and_ranked_by_their_sum(stores: Stores) -> None:
    ids = await registered(stores, 3)
    jobs = {job.asset.id: job for job in await claim_all(stores)}
    seen = [detections(("dog", 0.5), ("dog", 0.25)), detections(("cat", 0.5)), detections(("car", 0.9))]
    await stores.results.settle([(jobs[asset], result(jobs[asset], objects=found)) for asset, found in zip(ids, seen, strict=True)])

    hits = await stores.search.by_objects(ALICE, ["dog", "cat"], 10)

    assert [(hit.asset_id, hit.score) for hit in hits] == [(ids[0], pytest.approx(0.75)), (ids[1], pytest.approx(0.5))]
    assert await stores.search.by_objects(BOB, ["dog"], 10) == []
    assert len(await stores.search.by_objects(ALICE, ["dog", "cat", "car"], 2)) == 2


async def test_cards_show_path_time_and_each_label_once_best_first(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, objects=detections(("dog", 0.5), ("cat", 0.75), ("dog", 0.25))))])

    cards = await stores.search.cards(ALICE, [asset, uuid4()])

    assert list(cards) == [asset]
    card = cards[asset]
    assert (card.path, card.taken_at, card.objects, card.faces) == ("/photos/photo00000.jpg", "2024-05-17T14:30:05+09:00", ("cat", "dog"), ())
    assert await stores.search.cards(BOB, [asset]) == {}
