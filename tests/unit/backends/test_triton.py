"""The Triton backend without a server: how many batches are under way, and what is said when nobody is there."""

import asyncio
from pathlib import Path

import pytest

from kizu_fast import specs
from kizu_fast.backends.triton import BATCHES, Pace, TritonBackend, _Model
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import BackendUnavailable, ConfigError, TransientError

IMAGE = specs.clip_image("clip", side=8, dim=4, space="s")


async def test_only_so_many_batches_are_under_way() -> None:
    pace, most = Pace(3), 0
    running = 0

    async def batch() -> None:
        nonlocal running, most
        async with pace:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(batch() for _ in range(20)))
    assert most == 3


async def test_a_full_queue_halves_them_and_success_brings_them_back() -> None:
    pace = Pace(4)
    pace.narrow()
    assert pace.limit == 2
    pace.narrow()
    pace.narrow()
    assert pace.limit == 1
    for _ in range(20):
        pace.widen()
    assert pace.limit == 4


async def test_a_narrowed_pace_lets_the_next_batch_wait_for_the_one_before() -> None:
    pace = Pace(2)
    pace.narrow()
    async with pace:
        second = asyncio.ensure_future(pace.__aenter__())
        await asyncio.sleep(0)
        assert not second.done()
    await second


async def test_the_profile_asks_for_full_batches_per_model_outside_the_lanes() -> None:
    backend = TritonBackend(["127.0.0.1:9"])
    profile = backend.profile
    assert (profile.lanes, profile.per_model, profile.full_batches, profile.in_lanes) == (BATCHES, True, True, False)
    assert profile.largest_batch(IMAGE) == IMAGE.max_batch
    await backend.close()


async def test_nobody_there_is_an_outage_that_names_the_address_and_the_setting() -> None:
    backend = TritonBackend(["127.0.0.1:9", "127.0.0.1:10"])
    with pytest.raises(BackendUnavailable, match=r"no Triton server answers at 127.0.0.1:9 .*Connection refused.*TRITON_URLS"):
        await backend.load(IMAGE)
    await backend.close()


async def test_a_model_that_was_not_loaded_is_not_asked_for() -> None:
    backend = TritonBackend(["127.0.0.1:9"])
    with pytest.raises(TransientError, match="clip: not loaded"):
        await backend.infer(IMAGE, {})
    with pytest.raises(ConfigError, match="not loaded"):
        backend.describe(IMAGE)
    await backend.unload(IMAGE)
    await backend.close()


async def test_wrong_addresses_are_refused_when_the_engine_opens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TRITON_URLS"):
        async with open_engine(EngineConfig(model_repository=tmp_path, backend="triton", triton_urls="nonsense", operations=())):
            pass


def test_the_deadline_follows_the_slowest_answer_of_late_and_grows_when_it_was_too_short() -> None:
    model = _Model(IMAGE, Pace(1), IMAGE.max_batch)
    assert model.deadline_s == 20.0
    model.saw(30.0)
    assert model.deadline_s == 120.0
    for _ in range(100):
        model.saw(1.0)
    assert model.deadline_s == 20.0
    for _ in range(10):
        model.waited_in_vain()
    assert model.deadline_s == 600.0
