import asyncio

from tests.soak.upstream import Upstream

REQUEST = b"GET /soak/hold HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"


async def send(upstream: Upstream) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(REQUEST)
    return writer


async def arrived(upstream: Upstream, number: int) -> None:
    async with asyncio.timeout(5):
        while upstream.requests < number:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_the_twenty_first_in_flight_is_seen() -> None:
    async with Upstream(20) as upstream:
        writers = [await send(upstream) for _ in range(20)]
        await arrived(upstream, 20)
        assert (upstream.highest, upstream.over) == (20, 0)
        writers.append(await send(upstream))
        await arrived(upstream, 21)
        assert (upstream.highest, upstream.over) == (21, 1)
        assert upstream.release("10.0.0.1") == 21
        for writer in writers:
            writer.close()


async def test_one_whose_other_end_is_gone_is_in_flight_no_more() -> None:
    async with Upstream(1) as upstream:
        first = await send(upstream)
        await arrived(upstream, 1)
        [connection] = upstream.held["10.0.0.1"]
        assert not connection.has_ended()
        first.close()
        await first.wait_closed()
        second = await send(upstream)
        await arrived(upstream, 2)
        assert (upstream.highest, upstream.over) == (1, 0)
        second.close()
