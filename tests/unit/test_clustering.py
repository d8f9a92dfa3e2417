"""Strict groups of faces: what is linked, what takes no part, and that neither order nor size of the tiles decides anything."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from kizu_fast.clustering import ALONE, neighbour_graph, strict_groups


def people(count: int, pictures: int, *, spread: float = 0.4, dim: int = 64, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors of people whose pictures lie near each other, and whose they are."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((count, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    owners = np.repeat(np.arange(count), pictures)
    vectors = centres[owners] + generator.standard_normal((len(owners), dim)) * spread / np.sqrt(dim)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owners


def good(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ones(len(vectors), np.float32)


def by_plain_search(vectors: NDArray[np.float32], min_similarity: float) -> NDArray[np.int64]:
    """The same by all pairs: components of the graph of similar enough faces."""
    links = vectors @ vectors.T >= min_similarity
    _, labels = connected_components(links, directed=False)
    alone = np.bincount(labels)[labels] == 1
    return np.where(alone, ALONE, labels)


def partition(groups: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups.tolist()) - {ALONE}}


def test_pictures_of_one_person_come_together_and_strangers_do_not() -> None:
    vectors, owners = people(20, 6)
    groups = strict_groups(vectors, good(vectors))
    assert (groups == owners).all()


def test_groups_are_numbered_by_their_first_face() -> None:
    vectors, _ = people(3, 2)
    turned = vectors[::-1].copy()
    assert strict_groups(turned, good(turned)).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_face_that_resembles_none_stays_alone() -> None:
    vectors, _ = people(4, 1)
    assert strict_groups(vectors, good(vectors)).tolist() == [ALONE] * 4


def test_two_faces_are_linked_from_the_similarity_asked_for_on() -> None:
    pair = np.array([[1, 0], [0.6, 0.8]], np.float32)  # similarity 0.6
    assert strict_groups(pair, good(pair), min_similarity=0.59).tolist() == [0, 0]
    assert strict_groups(pair, good(pair), min_similarity=0.61).tolist() == [ALONE, ALONE]


def test_a_chain_of_links_is_one_group() -> None:
    angles = np.deg2rad([0, 50, 100])  # neighbours 0.64, ends -0.17
    chain = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    assert strict_groups(chain, good(chain)).tolist() == [0, 0, 0]


def test_weak_faces_take_no_part_and_join_nobody() -> None:
    vectors, _ = people(1, 3)
    assert strict_groups(vectors, np.array([0.9, 0.39, 0.4], np.float32)).tolist() == [0, ALONE, 0]


def test_a_weak_face_between_two_good_ones_does_not_link_them() -> None:
    angles = np.deg2rad([0, 50, 100])
    chain = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    assert strict_groups(chain, np.array([1, 0.1, 1])).tolist() == [ALONE, ALONE, ALONE]


def test_equal_vectors_are_one_group_however_many_they_are() -> None:
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), [5000, 2, 1], axis=0)
    groups = strict_groups(vectors, good(vectors))
    assert groups.tolist() == [0] * 5000 + [1, 1, ALONE]


def test_none_and_one_face_are_no_groups() -> None:
    nobody = np.zeros((0, 512), np.float32)
    assert strict_groups(nobody, np.zeros(0)).tolist() == []
    assert strict_groups(np.zeros(0), np.zeros(0)).tolist() == []
    one = np.eye(1, 512, dtype=np.float32)
    assert strict_groups(one, good(one)).tolist() == [ALONE]


def test_only_weak_faces_are_no_groups() -> None:
    vectors, _ = people(2, 3)
    assert set(strict_groups(vectors, np.zeros(6)).tolist()) == {ALONE}


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(wrong: float) -> None:
    vectors, _ = people(2, 2)
    broken, quality = vectors.copy(), good(vectors)
    broken[1, 3] = wrong
    with pytest.raises(ValueError, match="not finite"):
        strict_groups(broken, quality)
    quality[0] = wrong
    with pytest.raises(ValueError, match="not finite"):
        strict_groups(vectors, quality)


def test_vectors_of_another_length_than_one_are_refused() -> None:
    vectors, _ = people(2, 2)
    with pytest.raises(ValueError, match="length 1"):
        strict_groups(vectors * 2, good(vectors))


@pytest.mark.parametrize(("vectors", "quality"), [((3, 4), (2,)), ((4,), (4,)), ((2, 2, 2), (2,))])
def test_lists_that_do_not_belong_together_are_refused(vectors: tuple[int, ...], quality: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        strict_groups(np.ones(vectors), np.ones(quality))


@pytest.mark.parametrize("similarity", [0, 1, -0.5, 1.5])
def test_a_similarity_that_is_none_is_refused(similarity: float) -> None:
    vectors, _ = people(2, 2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        strict_groups(vectors, good(vectors), min_similarity=similarity)


def test_half_precision_as_it_is_stored_is_good_enough() -> None:
    vectors, owners = people(20, 6, dim=512)
    stored = vectors.astype(np.float16)
    assert (strict_groups(stored, good(vectors)) == owners).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.floats(0.2, 0.9))
def test_the_groups_are_those_of_all_pairs_whatever_the_order(seed: int, count: int, similarity: float) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count, 6))
    vectors[generator.random(count) < 0.2] = vectors[0]  # some are equal
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    similarities = np.unique(vectors @ vectors.T)
    if np.abs(similarities - similarity).min() < 1e-5:
        return  # too near to call
    order = generator.permutation(count)
    groups = strict_groups(vectors, good(vectors), min_similarity=similarity)
    shuffled = np.empty(count, np.int64)
    shuffled[order] = strict_groups(vectors[order], good(vectors), min_similarity=similarity)
    assert partition(groups) == partition(shuffled) == partition(by_plain_search(vectors, similarity))


def test_more_pictures_than_neighbours_are_still_one_person() -> None:
    vectors, owners = people(3, 300, spread=0.3)
    assert (strict_groups(vectors, good(vectors)) == owners).all()


def test_a_rare_picture_of_a_person_with_many_stays_his() -> None:
    """Nobody has it among his nearest, but it has them: an edge that one end has counts."""
    generator = np.random.default_rng(3)
    many = np.array([1, 0, 0]) + generator.standard_normal((400, 3)) * 0.01
    rare = np.array([[0.6, 0.8, 0.0]])
    vectors = np.vstack((many, rare))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert set(strict_groups(vectors, good(vectors)).tolist()) == {0}


def test_the_graph_holds_no_more_than_the_nearest_of_either_end() -> None:
    vectors, _ = people(1, 500, spread=0.2)
    graph = neighbour_graph(vectors, min_similarity=0.5, neighbours=10)
    assert graph.shape == (500, 500)
    assert 500 * 10 <= graph.nnz <= 2 * 500 * 10
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().max() == 0
    assert graph.data.min() > 0


def test_tiles_give_what_one_piece_gives() -> None:
    vectors, _ = people(40, 5)
    whole = neighbour_graph(vectors, min_similarity=0.3, neighbours=4)
    tiled = neighbour_graph(vectors, min_similarity=0.3, neighbours=4, tile=(7, 11))
    assert np.abs(whole.toarray() - tiled.toarray()).max() < 1e-5


def test_nothing_is_said_about_how_it_is_done() -> None:
    vectors, _ = people(5, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strict_groups(vectors, good(vectors))
