"""Which server is asked, and when one that was lost is asked again. No server is needed for this."""

from collections.abc import AsyncIterator

import pytest

from kizu_fast.backends.triton_errors import Refusal, Verdict
from kizu_fast.backends.triton_servers import Servers, addresses
from kizu_fast.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "urls"),
    [("127.0.0.1:8001", ("127.0.0.1:8001",)), (" a:1 , grpc://b:2,", ("a:1", "b:2")), ("[::1]:8001", ("[::1]:8001",)), ("", ())],
)
def test_addresses_are_a_comma_list(text: str, urls: tuple[str, ...]) -> None:
    assert addresses(text) == urls


@pytest.mark.parametrize("text", ["localhost", "http://a:8001", "a:b", "a:", ":8001", "a:1,b"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"TRITON_URLS: .* is not host:port"):
        addresses(text)


def test_no_address_at_all_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="TRITON_URLS is empty"):
        Servers(())


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    opened = Servers(("127.0.0.1:9", "127.0.0.1:10", "127.0.0.1:11"))
    yield opened
    await opened.close()


async def test_the_one_with_least_to_do_is_asked(servers: Servers) -> None:
    first, second, third = servers.all
    first.in_flight, second.in_flight, third.in_flight = 2, 1, 3
    assert servers.choose() is second
    assert servers.choose(avoided=[second]) is first


async def test_a_lost_one_is_left_alone_while_another_is_up(servers: Servers) -> None:
    first, second, _ = servers.all
    second.in_flight = 5
    first.lost("gone")
    assert first.rests_s > 0
    assert servers.choose(avoided=[servers.all[2]]) is second


async def test_when_all_are_lost_the_longest_rested_is_asked_at_once(servers: Servers) -> None:
    first, second, third = servers.all
    for one in (second, first, third):
        one.lost("gone")
    third.lost("gone again")
    assert servers.choose() is second


async def test_whoever_was_lost_rests_longer_every_time_until_it_answers(servers: Servers) -> None:
    first = servers.all[0]
    rests = []
    for _ in range(8):
        first.lost("gone")
        rests.append(first.rests_s)  # a moment less than the pause
    assert rests == pytest.approx(sorted(rests), abs=0.01)
    assert rests[-1] <= 5.0
    first.answered()
    assert (first.down, first.rests_s) == (False, 0.0)
    first.lost("gone")
    assert first.rests_s <= rests[0] + 0.01


async def test_nothing_is_proved_of_a_server_that_was_lost(servers: Servers) -> None:
    first = servers.all[0]
    first.proved["model"] = 0.1
    first.lost("gone")
    assert first.proved == {}


async def test_nobody_there_is_a_refusal_with_the_reason(servers: Servers) -> None:
    with pytest.raises(Refusal, match="Connection refused") as caught:
        await servers.all[0].is_ready("model")
    assert caught.value.verdict is Verdict.GONE
