"""kizu_fast/store/registration.py: what becomes of files, paths and assets, case by case and against the rules for all."""

import time
from uuid import RFC_4122, UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.store import FoundFile, Registered
from kizu_fast.store.registration import AssetState, Plan, Planner, time_ordered_id

OPERATIONS = ("embedding", "objects")


def found(path: str, word: str, *, settled: bool = True) -> FoundFile:
    return FoundFile(path.encode(), len(word), 1, word.encode().ljust(32), None, settled)


def asset(word: str, *paths: str, outcomes: tuple[str, ...] = OPERATIONS, waiting: tuple[str, ...] = ()) -> AssetState:
    """An asset with the bytes of word, done by default; the first path is the one to show."""
    encoded = [path.encode() for path in paths]
    return AssetState(uuid4(), word.encode().ljust(32), encoded[0] if encoded else None, set(encoded), frozenset(outcomes), frozenset(waiting))


def plan(states: list[AssetState], files: list[FoundFile], gone: tuple[str, ...] = ()) -> Plan:
    return Planner(states, OPERATIONS, [path.encode() for path in gone]).plan(files)


def test_unknown_bytes_under_an_unknown_path_are_a_new_asset() -> None:
    planned = plan([], [found("/a", "one")])

    assert planned.counts(1) == Registered(registered=1, queued=1)
    assert list(planned.new) == list(planned.placed.values())
    assert planned.wanted == {planned.placed[b"/a"]: set(OPERATIONS)}


def test_ids_begin_with_the_time_and_never_repeat() -> None:
    before = time.time_ns() // 1_000_000
    ids = [time_ordered_id() for _ in range(2_000)]
    after = time.time_ns() // 1_000_000

    assert {(one.version, one.variant) for one in ids} == {(7, RFC_4122)}
    assert len(set(ids)) == len(ids)
    assert all(before <= one.int >> 80 <= after for one in ids)
    assert [one.int >> 80 for one in ids] == sorted(one.int >> 80 for one in ids)


def test_nothing_is_written_for_a_file_that_is_as_it_was() -> None:
    known = asset("one", "/a")

    planned = plan([known], [found("/a", "one")])

    assert (planned.placed, planned.wanted, planned.new, planned.changed, planned.primary, planned.orphans) == (
        {b"/a": known.id},
        {},
        {},
        {},
        {},
        set(),
    )
    assert planned.counts(0) == Registered(known=1)


def test_a_known_file_wants_what_has_no_outcome_and_no_open_job() -> None:
    known = asset("one", "/a", outcomes=("embedding",))
    waiting = asset("two", "/b", outcomes=("embedding",), waiting=("objects",))

    planned = plan([known, waiting], [found("/a", "one"), found("/b", "two")])

    assert planned.wanted == {known.id: {"objects"}}


def test_the_same_path_twice_counts_once_and_the_last_word_holds() -> None:
    planned = plan([], [found("/a", "one"), found("/a", "two")])

    assert planned.counts(1) == Registered(registered=1, queued=1)
    assert [file.sha256 for file in planned.new.values()] == [b"two".ljust(32)]


def test_identical_new_files_are_one_asset() -> None:
    planned = plan([], [found("/a", "one"), found("/b", "one")])

    assert planned.counts(1) == Registered(registered=1, known=1, queued=1)
    assert planned.placed[b"/a"] == planned.placed[b"/b"]


def test_known_bytes_under_a_new_path_are_a_copy_while_the_old_file_is_there() -> None:
    known = asset("one", "/a")

    planned = plan([known], [found("/b", "one")])

    assert (planned.placed, planned.moved, planned.dropped, planned.primary) == ({b"/b": known.id}, 0, set(), {})


def test_known_bytes_under_a_new_path_are_moved_when_the_old_file_is_gone() -> None:
    known = asset("one", "/a")

    planned = plan([known], [found("/b", "one")], gone=("/a",))

    assert (planned.moved, planned.dropped, planned.primary) == (1, {b"/a"}, {known.id: b"/b"})


def test_a_gone_file_without_a_new_place_stays_known() -> None:
    known = asset("one", "/a", "/b")

    planned = plan([known], [found("/b", "one")], gone=("/a",))

    assert (planned.moved, planned.dropped, planned.orphans) == (0, set(), set())


def test_a_changed_file_keeps_its_asset_and_wants_all_it_had() -> None:
    known = asset("one", "/a", outcomes=("embedding", "faces"), waiting=("ocr",))

    planned = plan([known], [found("/a", "two")])

    assert list(planned.changed) == [known.id]
    assert planned.wanted == {known.id: {"embedding", "objects", "faces", "ocr"}}
    assert planned.counts(1) == Registered(known=1, queued=1, changed=1)


def test_a_changed_copy_becomes_an_asset_of_its_own() -> None:
    known = asset("one", "/a", "/b")

    planned = plan([known], [found("/b", "two")])

    assert list(planned.new) == [planned.placed[b"/b"]] != [known.id]
    assert planned.changed == {}


def test_a_changed_copy_whose_twin_is_gone_keeps_the_asset_and_drops_the_twin() -> None:
    known = asset("one", "/a", "/b")

    planned = plan([known], [found("/b", "two")], gone=("/a",))

    assert (list(planned.changed), planned.dropped, planned.primary) == ([known.id], {b"/a"}, {known.id: b"/b"})


def test_two_copies_changed_alike_keep_the_asset() -> None:
    known = asset("one", "/a", "/b")

    planned = plan([known], [found("/a", "two"), found("/b", "two")])

    assert planned.placed == {b"/a": known.id, b"/b": known.id}
    assert planned.counts(1) == Registered(known=2, queued=1, changed=1)


def test_two_copies_changed_differently_are_two_assets_then() -> None:
    known = asset("one", "/a", "/b")

    planned = plan([known], [found("/a", "two"), found("/b", "three")])

    assert planned.placed[b"/a"] == known.id
    assert list(planned.new) == [planned.placed[b"/b"]]


def test_a_renamed_file_keeps_its_id_even_if_its_old_name_has_new_bytes() -> None:
    for files in ([found("/a", "two"), found("/b", "one")], [found("/b", "one"), found("/a", "two")]):
        known = asset("one", "/a")

        planned = plan([known], files)

        assert planned.placed[b"/b"] == known.id
        assert list(planned.new) == [planned.placed[b"/a"]]


def test_swapped_names_swap_paths_and_nothing_else() -> None:
    first, second = asset("one", "/a"), asset("two", "/b")

    planned = plan([first, second], [found("/a", "two"), found("/b", "one")])

    assert planned.placed == {b"/a": second.id, b"/b": first.id}
    assert planned.primary == {first.id: b"/b", second.id: b"/a"}
    assert (planned.new, planned.changed, planned.orphans, planned.wanted) == ({}, {}, set(), {})


def test_an_asset_whose_last_file_was_overwritten_by_another_s_copy_is_retired() -> None:
    first, second = asset("one", "/a", outcomes=()), asset("two", "/b")

    planned = plan([first, second], [found("/a", "two")])

    assert (planned.orphans, planned.placed) == ({first.id}, {b"/a": second.id})
    assert first.id not in planned.wanted


def test_an_asset_without_any_file_is_left_alone() -> None:
    remote = asset("one")

    planned = plan([remote], [found("/a", "two")])

    assert planned.orphans == set()


def test_bytes_that_only_a_remote_asset_has_give_it_a_path() -> None:
    remote = asset("one")

    planned = plan([remote], [found("/a", "one")])

    assert (planned.placed, planned.primary) == ({b"/a": remote.id}, {remote.id: b"/a"})


def test_a_file_still_being_copied_delays_its_job_only_if_there_is_one() -> None:
    known = asset("one", "/a")

    planned = plan([known], [found("/a", "one", settled=False), found("/b", "two", settled=False)])

    assert planned.delayed == {planned.placed[b"/b"]}


PATHS = [f"/{letter}" for letter in "abcdef"]
WORDS = ["one", "two", "three", "four"]
LAYOUTS = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(WORDS), max_size=6)


def states_of(layout: dict[str, str]) -> list[AssetState]:
    """The assets of a library that was ingested as it was."""
    return [asset(word, *sorted(path for path, held in layout.items() if held == word)) for word in sorted(set(layout.values()))]


def apply(states: list[AssetState], planned: Plan) -> dict[UUID, tuple[bytes, set[bytes]]]:
    """The library after the plan: bytes and paths by asset, by the plan's own lists only."""
    after = {state.id: (state.sha256 or b"", set(state.paths)) for state in states}
    for asset_id, file in (planned.new | planned.changed).items():
        after[asset_id] = (file.sha256, after.get(asset_id, (b"", set()))[1])
    for _, paths in after.values():
        paths.difference_update(planned.dropped | planned.placed.keys())
    for path, asset_id in planned.placed.items():
        after[asset_id][1].add(path)
    return {asset_id: held for asset_id, held in after.items() if asset_id not in planned.orphans}


@given(before=LAYOUTS, now=LAYOUTS)
def test_whatever_happened_to_the_files_the_library_says_what_the_disk_says(before: dict[str, str], now: dict[str, str]) -> None:
    gone = tuple(before.keys() - now.keys())
    states = states_of(before)
    copies = [AssetState(s.id, s.sha256, s.primary, set(s.paths), s.outcomes, s.open) for s in states]

    planned = plan(states, [found(path, word) for path, word in now.items()], gone)
    after = apply(copies, planned)

    on_disk = {path.encode(): word.encode().ljust(32) for path, word in now.items()}
    held = {path: sha for sha, paths in after.values() for path in paths}
    assert {path: sha for path, sha in held.items() if path in on_disk} == on_disk  # every file is where it is, with its bytes
    shas = [sha for sha, _ in after.values()]
    assert len(shas) == len(set(shas))  # the same bytes are one asset
    assert all(paths for _, paths in after.values())  # no asset without a file
    assert {path for path in held if path not in on_disk} <= {path.encode() for path in gone}  # what is gone is reported, never invented


@given(before=LAYOUTS, now=LAYOUTS)
def test_bytes_that_are_still_there_keep_their_id(before: dict[str, str], now: dict[str, str]) -> None:
    states = states_of(before)
    ids = {state.sha256: state.id for state in states}

    planned = plan(states, [found(path, word) for path, word in now.items()], tuple(before.keys() - now.keys()))

    for path, word in now.items():
        sha = word.encode().ljust(32)
        assert planned.placed[path.encode()] == ids.get(sha, planned.placed[path.encode()])


@given(before=LAYOUTS, now=LAYOUTS)
def test_looking_twice_changes_nothing_the_second_time(before: dict[str, str], now: dict[str, str]) -> None:
    files, states = [found(path, word) for path, word in now.items()], states_of(before)
    copies = [AssetState(s.id, s.sha256, s.primary, set(s.paths), s.outcomes, s.open) for s in states]
    after = apply(copies, plan(states, files, tuple(before.keys() - now.keys())))
    again = [AssetState(asset_id, sha, min(paths), set(paths), frozenset(OPERATIONS)) for asset_id, (sha, paths) in after.items()]

    second = plan(again, files)

    assert (second.new, second.changed, second.orphans, second.dropped, second.wanted) == ({}, {}, set(), set(), {})
