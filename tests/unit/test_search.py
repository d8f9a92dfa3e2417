"""kizu_fast/search.py: lists of photos to one ranking."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kizu_fast.domain import LIBRARY_OWNER, Embedding
from kizu_fast.search import fuse, search
from kizu_fast.store import Card, Hit, Space

PHOTOS = [UUID(int=n) for n in range(1, 9)]
SPACE = "open_clip/tiny/p1/00000000"


@dataclass
class ListedStore:
    """Answers with fixed lists and remembers who asked."""

    by_meaning: list[UUID] = field(default_factory=list)
    by_label: list[UUID] = field(default_factory=list)
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
        return [Hit(photo, 0.5) for photo in self.by_meaning[:limit]]

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        self.asked.append(("objects", user))
        return [Hit(photo, 0.5) for photo in self.by_label[:limit]]

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        return {photo: Card(photo, f"/photos/{photo.int}.jpg", None, ("dog",)) for photo in reversed(asset_ids)}


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
    assert store.asked == [("vector", LIBRARY_OWNER)]


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


@given(st.lists(st.permutations(PHOTOS), min_size=1, max_size=4))
def test_fusion_does_not_depend_on_the_order_of_the_lists(lists: list[list[UUID]]) -> None:
    forwards, backwards = fuse(lists), fuse(list(reversed(lists)))
    assert set(forwards) == set(backwards) == set(PHOTOS)
    assert all(abs(forwards[photo] - backwards[photo]) < 1e-12 for photo in PHOTOS)


@given(st.permutations(PHOTOS))
def test_one_list_alone_keeps_its_order(ranked_list: list[UUID]) -> None:
    scores = fuse([ranked_list])
    assert sorted(scores, key=lambda photo: -scores[photo]) == ranked_list
