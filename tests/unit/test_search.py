"""kizu_fast/search.py: lists of photos to one ranking."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kizu_fast.domain import LIBRARY_OWNER, Embedding
from kizu_fast.search import RRF_K, Ballot, fuse, search
from kizu_fast.store import Card, Hit, Person, Space

PHOTOS = [UUID(int=n) for n in range(1, 9)]
SPACE = "open_clip/tiny/p1/00000000"


def best_first(photos: Sequence[UUID]) -> list[Hit]:
    return [Hit(photo, 1 - place / 1000) for place, photo in enumerate(photos)]


@dataclass
class ListedStore:
    """Answers with fixed lists and remembers who asked."""

    by_meaning: list[UUID] = field(default_factory=list)
    by_label: list[UUID] = field(default_factory=list)
    read: dict[str, list[Hit]] = field(default_factory=dict)
    written: list[Hit] = field(default_factory=list)
    space: str | None = SPACE
    asked: list[tuple[str, UUID]] = field(default_factory=list)

    async def ensure_space(self, name: str, dim: int, kind: str = "image") -> int:
        return 1

    async def activate_if_whole(self, name: str) -> bool:
        return True

    async def active_space(self, kind: str = "image") -> Space | None:
        return None if self.space is None else Space(1, self.space, 2)

    async def by_vector(self, user: UUID, space: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        self.asked.append(("vector", user))
        return best_first(self.by_meaning[:limit])

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        self.asked.append(("objects", user))
        return best_first(self.by_label[:limit])

    async def by_text(self, user: UUID, question: str, limit: int) -> list[Hit]:
        self.asked.append(("text", user))
        return self.read.get(question, [])[:limit]

    async def by_caption(self, user: UUID, question: str, limit: int) -> list[Hit]:
        self.asked.append(("captions", user))
        return self.written[:limit]

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        return {photo: Card(photo, f"/photos/{photo.int}.jpg", None, ("dog",), (Person(),)) for photo in reversed(asset_ids)}


async def embed(text: str, space: str) -> Embedding:
    return Embedding(space, np.array([1.0, 0.0], np.float32))


async def ranked(store: ListedStore, query: str, limit: int = 20) -> list[UUID]:
    answer = await search(query, user=LIBRARY_OWNER, limit=limit, stores=(store, store), embed_text=embed)
    return [hit.asset_id for hit in answer.photos]


async def test_a_photo_in_both_lists_comes_before_one_in_either() -> None:
    store = ListedStore(by_meaning=[PHOTOS[0], PHOTOS[1]], by_label=[PHOTOS[2], PHOTOS[1]])
    assert (await ranked(store, "a dog"))[0] == PHOTOS[1]


async def test_a_query_without_objects_leaves_the_object_list_out() -> None:
    store = ListedStore(by_meaning=PHOTOS[:3], by_label=PHOTOS[3:])
    assert await ranked(store, "sunset") == PHOTOS[:3]
    assert store.asked == [("vector", LIBRARY_OWNER), ("text", LIBRARY_OWNER), ("captions", LIBRARY_OWNER)]


async def test_without_any_embedding_the_objects_answer_alone() -> None:
    store = ListedStore(by_label=PHOTOS[:2], space=None)
    assert await ranked(store, "dogs") == PHOTOS[:2]


async def test_an_empty_query_finds_nothing_and_asks_nothing() -> None:
    store = ListedStore(by_meaning=PHOTOS)
    assert await ranked(store, "  ") == []
    assert store.asked == []


async def test_the_answer_is_cut_to_the_limit_best_first() -> None:
    assert await ranked(ListedStore(by_meaning=PHOTOS), "sunset", limit=3) == PHOTOS[:3]


async def test_scores_fall_from_first_to_last() -> None:
    answer = await search("sunset", user=LIBRARY_OWNER, limit=5, stores=(ListedStore(by_meaning=PHOTOS), ListedStore()), embed_text=embed)
    scores = [hit.score for hit in answer.photos]
    assert scores == sorted(scores, reverse=True)
    assert answer.photos[0].path == "/photos/1.jpg"


async def test_a_photo_that_says_what_was_asked_comes_first_whatever_the_others_show() -> None:
    store = ListedStore(by_meaning=PHOTOS[:7], by_label=PHOTOS[:7], read={"bus stop 42": [Hit(PHOTOS[7], 1.0, "BUS STOP 42")]})
    answer = await search("bus stop 42", user=LIBRARY_OWNER, limit=20, stores=(store, store), embed_text=embed)
    assert answer.photos[0].asset_id == PHOTOS[7]
    assert [found.text for found in answer.photos[:2]] == ["BUS STOP 42", None]


async def test_the_whole_phrase_stays_before_all_words_although_the_meaning_disagrees() -> None:
    store = ListedStore(by_meaning=PHOTOS, by_label=PHOTOS[:1], read={"bus 42": [Hit(PHOTOS[7], 1.0, "bus 42"), Hit(PHOTOS[0], 0.95, "42 bus")]})
    assert (await ranked(store, "bus 42"))[:2] == [PHOTOS[7], PHOTOS[0]]


async def test_some_of_the_words_only_nudge() -> None:
    """A sign that says 'Beach Hotel' does not come before the photos of a dog on a beach."""
    store = ListedStore(by_meaning=PHOTOS, by_label=PHOTOS[:4], read={"a dog on a beach": [Hit(PHOTOS[5], 0.5, "Beach Hotel")]})
    assert (await ranked(store, "a dog on a beach"))[:4] == PHOTOS[:4]
    assert (await ranked(store, "a dog on a beach"))[4] == PHOTOS[5]


async def test_one_plain_word_that_stands_in_very_many_photos_does_not_push_out_what_shows_it() -> None:
    signs = [UUID(int=n) for n in range(100, 130)]
    store = ListedStore(by_meaning=[*PHOTOS, *signs], read={"beach": [Hit(sign, 1.0, "Beach") for sign in signs]})
    assert (await ranked(store, "beach", limit=20))[:4] == PHOTOS[:4]
    few = ListedStore(by_meaning=[*PHOTOS, *signs], read={"beach": [Hit(sign, 1.0, "Beach") for sign in signs[:3]]})
    assert (await ranked(few, "beach", limit=20))[:3] == signs[:3]


async def test_a_caption_counts_like_a_list_of_its_own_and_twice_as_a_phrase() -> None:
    store = ListedStore(by_meaning=PHOTOS, written=[Hit(PHOTOS[6], 1.0, "a red kite"), Hit(PHOTOS[3], 0.4, "a red car")])
    answer = await search("a red sunset", user=LIBRARY_OWNER, limit=20, stores=(store, store), embed_text=embed)
    assert [found.asset_id for found in answer.photos][:4] == [PHOTOS[6], *PHOTOS[:3]]
    assert (answer.photos[0].text, answer.photos[4].text) == ("a red kite", None)
    assert answer.used == ("embedding", "captions")


async def test_quoted_words_are_a_filter() -> None:
    store = ListedStore(by_meaning=PHOTOS, by_label=PHOTOS, read={"EXIT": [Hit(PHOTOS[6], 1.0, "EXIT"), Hit(PHOTOS[2], 0.7, "EX1T")]})
    assert await ranked(store, 'a dog and "EXIT"') == [PHOTOS[6]]
    assert await ranked(store, '"EXIT"') == [PHOTOS[6]]
    assert await ranked(store, '"ENTRANCE"') == []


async def test_a_misread_letter_does_not_hide_a_quoted_text() -> None:
    store = ListedStore(by_meaning=PHOTOS, read={"EXIT": [Hit(PHOTOS[2], 0.7, "EX1T"), Hit(PHOTOS[3], 0.3, "X")]})
    assert await ranked(store, '"EXIT"') == [PHOTOS[2]]


async def test_the_answer_says_which_lists_had_something_to_say_and_whose_faces_are_seen() -> None:
    store = ListedStore(by_meaning=PHOTOS[:2], read={"sunset": [Hit(PHOTOS[1], 1.0, "SUNSET BAR")]})
    answer = await search("sunset", user=LIBRARY_OWNER, limit=5, stores=(store, store), embed_text=embed)
    assert answer.used == ("embedding", "text")
    assert answer.photos[0].faces == (Person(),)
    assert answer.photos[0].text == "SUNSET BAR"


def test_equal_scores_share_a_rank() -> None:
    scores = fuse([Ballot("text", [Hit(PHOTOS[0], 1.0), Hit(PHOTOS[1], 0.5), Hit(PHOTOS[2], 0.5), Hit(PHOTOS[3], 0.1)])])
    assert scores == {PHOTOS[0]: 1 / (RRF_K + 1), PHOTOS[1]: 1 / (RRF_K + 2), PHOTOS[2]: 1 / (RRF_K + 2), PHOTOS[3]: 1 / (RRF_K + 4)}


@given(st.lists(st.permutations(PHOTOS), min_size=1, max_size=4))
def test_fusion_does_not_depend_on_the_order_of_the_lists(lists: list[list[UUID]]) -> None:
    ballots = [Ballot("embedding", best_first(ranked_list)) for ranked_list in lists]
    forwards, backwards = fuse(ballots), fuse(list(reversed(ballots)))
    assert set(forwards) == set(backwards) == set(PHOTOS)
    assert all(abs(forwards[photo] - backwards[photo]) < 1e-12 for photo in PHOTOS)


@given(st.permutations(PHOTOS))
def test_one_list_alone_keeps_its_order(ranked_list: list[UUID]) -> None:
    scores = fuse([Ballot("embedding", best_first(ranked_list))])
    assert sorted(scores, key=lambda photo: -scores[photo]) == ranked_list
