"""Texts and captions in PostgreSQL and in memory: replaced and never appended, shown in pixels, and found by what they say."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from samples import ALICE, BOB, FACTS, Stores, claim_all, file, registered, result, sha
from stores import memory_stores, postgres_stores

from kizu_fast.domain import Caption, Job, Operation, PhotoResult, TextLine, Texts
from kizu_fast.store.pool import Database
from kizu_fast.store.sql import statement

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
CORNERS = np.array([[10, 10], [110, 20], [100, 60], [0, 50]], np.float32)  # of a 400 x 200 picture
ASKED = ("ocr", "describe")


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    return memory_stores() if request.param == "memory" else postgres_stores(request.getfixturevalue("database"))


def read(job: Job, *lines: str, caption: str | None = None, model: str = "ppocr", word: str | None = None) -> PhotoResult:
    """A photo with these lines, the first the surest; without a caption nobody was asked for one."""
    texts = Texts(tuple(TextLine(text, 0.9 - 0.1 * n, CORNERS, "ch") for n, text in enumerate(lines)))
    models = {Operation.OCR: model} | ({} if caption is None else {Operation.DESCRIBE: "florence2"})
    return replace(result(job, word=word), texts=texts, caption=None if caption is None else Caption(caption), models=models)


async def library(stores: Stores, *texts: str, captions: tuple[str, ...] = (), user: UUID = ALICE) -> list[UUID]:
    """One photo for each text (its lines apart by /), with captions for the first ones."""
    ids = await registered(stores, len(texts), ASKED, user=user, name=str(user))
    said = dict(zip(ids, texts, strict=True))
    about = dict(zip(ids, captions, strict=False))
    batch = [(job, read(job, *filter(None, said[job.asset.id].split("/")), caption=about.get(job.asset.id))) for job in await claim_all(stores)]
    assert len((await stores.results.settle(batch)).completed) == len(texts)
    return ids


async def again(stores: Stores, asset: UUID, *lines: str, caption: str | None = None, model: str = "ppocr") -> None:
    await stores.queue.enqueue(ALICE, [asset], ASKED)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, read(job, *lines, caption=caption, model=model))])


async def test_lines_are_shown_in_reading_order_and_pixels_of_the_upright_picture(stores: Stores) -> None:
    (asset,) = await library(stores, "EXIT/way out", captions=("a green sign",))

    details = await stores.assets.details(ALICE, asset)

    assert details is not None
    assert [(line.text, round(line.score, 3)) for line in details.texts] == [("EXIT", 0.9), ("way out", 0.8)]
    assert np.array(details.texts[0].polygon) == pytest.approx(CORNERS, abs=1e-3)
    assert details.caption == "a green sign"
    shown = json.loads(json.dumps(details.as_json()))
    assert set(shown["texts"][0]) == {"text", "score", "polygon"}
    assert len(shown["texts"][0]["polygon"]) == 4
    assert shown["caption"] == "a green sign"


async def test_a_second_run_replaces_texts_and_captions_whatever_model_read_them(stores: Stores) -> None:
    (asset,) = await library(stores, "EXIT/way out", captions=("a sign",))

    await again(stores, asset, "AUSGANG", caption="a green sign", model="easyocr-english_g2")

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert ([line.text for line in details.texts], details.caption) == (["AUSGANG"], "a green sign")
    counts = await stores.assets.counts(ALICE)
    assert (counts.texts, counts.captions) == (1, 1)
    assert await stores.search.by_text(ALICE, "exit", 10) == []


async def test_nothing_to_read_and_nothing_to_say_are_results_too(stores: Stores) -> None:
    (asset,) = await library(stores, "EXIT", captions=("a sign",))

    await again(stores, asset, caption="")

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert (details.texts, details.caption) == ((), None)
    counts = await stores.assets.counts(ALICE)
    assert (counts.texts, counts.captions) == (0, 0)
    assert (await stores.assets.register(ALICE, [file(f"/photos/{ALICE}00000.jpg", f"{ALICE}{ALICE}0")], ASKED)).queued == 0


async def test_counts_are_of_lines_and_of_captions(stores: Stores) -> None:
    await library(stores, "a/b/c", "d", "", captions=("one", "two"))

    counts = await stores.assets.counts(ALICE)

    assert (counts.texts, counts.captions) == (4, 2)
    assert (await stores.assets.counts(BOB)).texts == 0


async def test_an_operation_that_was_not_asked_for_keeps_its_text_and_its_caption(stores: Stores) -> None:
    (asset,) = await library(stores, "EXIT", captions=("a sign",))
    await stores.queue.enqueue(ALICE, [asset], ["objects"])
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job))])

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert ([line.text for line in details.texts], details.caption) == (["EXIT"], "a sign")


async def test_changed_bytes_void_what_was_read_and_written(stores: Stores) -> None:
    (asset,) = await library(stores, "EXIT", captions=("a sign",))

    await stores.assets.register(ALICE, [file(f"/photos/{ALICE}00000.jpg", "other bytes")], ["objects"])

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert (details.texts, details.caption) == ((), None)
    (job,) = await claim_all(stores)
    assert set(ASKED) <= set(job.operations)


async def test_forgetting_a_photo_forgets_its_text_and_its_caption(stores: Stores) -> None:
    first, _ = await library(stores, "EXIT/way out", "ENTRANCE", captions=("a sign",))

    gone = await stores.assets.forget(ALICE, [first])

    assert (gone.texts, gone.captions) == (1, 1)
    assert await stores.search.by_text(ALICE, "exit", 10) == []
    assert await stores.search.by_caption(ALICE, "sign", 10) == []


async def test_one_bad_line_fails_its_photo_alone(stores: Stores) -> None:
    await registered(stores, 2, ("ocr",))
    bad, good = await claim_all(stores)
    odd = replace(read(bad, "a"), texts=Texts((TextLine("a", float("nan"), CORNERS, "ch"),)))

    settled = await stores.results.settle([(bad, odd), (good, read(good, "b"))])

    assert (settled.completed, set(settled.failed)) == ({good.id}, {bad.id})


SAID = {  # a question, and the text that it finds first among all of these
    "CAFE": "Café",
    "strasse": "Hauptstraße 5",
    "tokyo": "\uff34\uff2f\uff2b\uff39\uff2f",
    "新宿": "東京都新宿区",
    "宮": "明治神宮",
    "100%": "only 100% wool",
    "invoice 4711": "ACME/INVOICE 4711/Total",
    "invoice 4712": "INVOICE4712",
    "is it on": "ISITON",
    "eu": "EU",
    "9": "Gate 9",
    "a_b": "a_b",
    "don't panic": "DON'T PANIC",
}


async def test_a_text_is_found_by_what_it_says(stores: Stores) -> None:
    ids = await library(stores, *SAID.values(), "nothing of the kind", "")

    for question, right in zip(SAID, ids, strict=False):
        (best, *_) = await stores.search.by_text(ALICE, question, 10)
        assert best.asset_id == right, question
        assert best.score > 0
        assert best.snippet


async def test_signs_of_a_question_are_taken_literally(stores: Stores) -> None:
    await library(stores, "Gate 5", "INVOICE 47110")

    for question in ("", "?!", "%%", "_", "\\", "the", "' or 1=1 --", "4712", "a & b | !c", "x\0y"):
        assert await stores.search.by_text(ALICE, question, 10) == [], question
        assert await stores.search.by_caption(ALICE, question, 10) == [], question


async def test_the_whole_phrase_comes_before_all_words_and_those_before_some(stores: Stores) -> None:
    some, every, phrase = await library(stores, "invoice", "4711 is the number of this invoice", "Invoice 4711")

    hits = await stores.search.by_text(ALICE, "invoice 4711", 10)

    assert [hit.asset_id for hit in hits] == [phrase, every, some]
    assert [hit.score for hit in hits] == [1, 0.95, 0.5]
    assert hits[0].snippet == "Invoice 4711"
    assert len(await stores.search.by_text(ALICE, "invoice 4711", 2)) == 2


async def test_captions_are_found_by_words_and_their_plurals(stores: Stores) -> None:
    dog, cats, _ = await library(stores, "", "", "", captions=("a dog on a beach", "two cats on a sofa", ""))

    assert [hit.asset_id for hit in await stores.search.by_caption(ALICE, "dogs", 10)] == [dog]
    assert [hit.asset_id for hit in await stores.search.by_caption(ALICE, "a cat on the sofa", 10)] == [cats]
    (hit,) = await stores.search.by_caption(ALICE, "dog beach", 10)
    assert (hit.asset_id, hit.snippet) == (dog, "a dog on a beach")


async def test_texts_of_others_never_show(stores: Stores) -> None:
    (mine,) = await library(stores, "EXIT", captions=("a sign",))
    (theirs,) = await library(stores, "EXIT", captions=("a sign",), user=BOB)

    for user, asset in ((ALICE, mine), (BOB, theirs)):
        assert [hit.asset_id for hit in await stores.search.by_text(user, "exit", 10)] == [asset]
        assert [hit.asset_id for hit in await stores.search.by_caption(user, "sign", 10)] == [asset]


async def test_a_job_that_lost_its_lease_writes_no_text(stores: Stores) -> None:
    await registered(stores, 1, ASKED)
    (stale,) = await claim_all(stores, lease_s=10)
    await stores.pass_time(11)
    await stores.queue.reset_stale()

    settled = await stores.results.settle([(stale, read(stale, "EXIT", caption="a sign"))])

    assert settled.lost == {stale.id}
    assert (await stores.assets.counts(ALICE)).texts == 0


async def test_rows_carry_their_user_model_and_languages_and_the_outcome_its_count(database: Database, fetch: Fetch) -> None:
    stores = postgres_stores(database)
    await library(stores, "EXIT/way out", captions=("a sign",))

    (text,) = await fetch("select user_id, model, full_text, languages, confidence, lines from ocr_texts")
    (caption,) = await fetch("select user_id, model, caption from captions")
    outcomes = await fetch("select operation, model, outcome, items from asset_operations order by operation desc")

    assert (text["user_id"], text["model"], text["full_text"], text["languages"]) == (ALICE, "ppocr", "EXIT\nway out", ["ch"])
    assert text["confidence"] == pytest.approx(0.85)
    assert [set(line) for line in json.loads(text["lines"])] == [{"text", "confidence", "lang", "box"}] * 2
    assert tuple(caption) == (ALICE, "florence2", "a sign")
    assert [tuple(row) for row in outcomes] == [("ocr", "ppocr", "done", 2), ("describe", "florence2", "done", 1)]


async def test_a_statement_that_forgets_the_user_shows_nothing_of_others(database: Database, fetch: Fetch) -> None:
    stores = postgres_stores(database)
    await library(stores, "EXIT", captions=("a sign",))
    (bobs,) = await library(stores, "EXIT", captions=("a sign",), user=BOB)

    async with database.transaction() as connection:
        await connection.execute(statement("act_as_user"), BOB)
        assert [row["asset_id"] for row in await connection.fetch("select asset_id from ocr_texts")] == [bobs]
        assert [row["asset_id"] for row in await connection.fetch("select asset_id from captions")] == [bobs]
    assert await database.read(BOB, "search_by_text", ALICE, ["exit"], [], [], 10) == []
    assert len(await fetch("select asset_id from ocr_texts")) == 2  # and the role ended with the transaction


def test_the_sample_picture_holds_its_lines() -> None:
    assert FACTS.width >= CORNERS[:, 0].max()
    assert FACTS.height >= CORNERS[:, 1].max()
    assert len(sha("x")) == 32
