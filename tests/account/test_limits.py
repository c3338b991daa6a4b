import asyncio

import pytest
from starlette.responses import Response

from account.world import HandClock, World, problem
from chargepin.account.application import _answered
from chargepin.account.limits import Limiter
from chargepin.account.passwords import Passwords, SlowWork
from chargepin.account.ports import Outdated, Refused, settled
from chargepin.core.messages import ProblemCode


def limiter(hands: HandClock, **more: int) -> Limiter:
    return Limiter("tries", times=3, window_s=60.0, running_s=lambda: hands.running_s, **more)


def test_so_many_in_any_window() -> None:
    hands = HandClock()
    limits = limiter(hands)
    for _ in range(3):
        limits.count("a")
        hands.advance(10)
    with pytest.raises(Refused) as caught:
        limits.count("a")
    assert (caught.value.code, caught.value.retry_after_s) == (ProblemCode.TOO_MANY, 30.0)
    limits.count("b")
    hands.advance(30)
    limits.count("a")
    with pytest.raises(Refused):
        limits.count("a")


def test_a_count_is_given_back() -> None:
    limits = limiter(HandClock())
    for _ in range(20):
        limits.count("a")
        limits.give_back("a")
    limits.give_back("nobody")


def test_subjects_are_forgotten_oldest_first() -> None:
    hands = HandClock()
    limits = limiter(hands, subjects=2)
    for subject in ("a", "a", "a", "b", "b", "b"):
        limits.count(subject)
    limits.count("c")
    limits.count("a")  # was forgotten for c, then counted anew
    assert len(limits._counted) <= 2
    hands.advance(60)
    limits.count("d")
    assert list(limits._counted) == ["d"]


async def test_slow_work_is_refused_when_too_much_waits() -> None:
    slow = SlowWork(threads=1, waiting=2)
    passwords = Passwords(slow)
    results = await asyncio.gather(
        *(passwords.hashed("x" * 8) for _ in range(5)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, Refused)]
    assert len(refused) == 3
    assert {r.code for r in refused} == {ProblemCode.BUSY}
    stored = next(r for r in results if isinstance(r, str))
    assert await passwords.fits("x" * 8, stored)
    assert not await passwords.fits("y" * 8, stored)
    assert not await passwords.fits("x" * 8, None)
    assert not await passwords.fits("x" * 8, "no hash")
    slow.close()


async def test_deciding_anew_ends() -> None:
    tries = 0

    async def never() -> None:
        nonlocal tries
        tries += 1
        raise Outdated

    with pytest.raises(Refused) as caught:
        await settled(never)
    assert (caught.value.code, tries) == (ProblemCode.BUSY, 8)


async def test_a_fault_of_the_service_is_an_answer_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def faulty() -> Response:
        raise RuntimeError("canary 482913")

    response = await _answered(faulty())
    assert response.status_code == 500
    assert b"internal" in bytes(response.body)
    assert b"canary" not in bytes(response.body)
    assert "RuntimeError" in caplog.text


async def test_a_flood_of_sign_ins_counts_no_failures(world: World) -> None:
    await world.sign_up("ann")
    answers = await asyncio.gather(*(world.sign_in("ann", "not this") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {401}
    await world.restart()
    world.service._slow._room = 0
    for _ in range(12):
        assert problem(await world.sign_in("ann")) == (503, "busy")
    world.service._slow._room = 64
    assert (await world.sign_in("ann")).status_code == 200


async def test_a_closed_service_answers_that_its_storage_failed(world: World) -> None:
    ann = await world.sign_up("ann")
    await world.service.close()
    assert problem(await world.http.get("/readyz")) == (503, "storage_failed")
    assert problem(await ann.ask("GET", "/v1/me")) == (503, "storage_failed")
    world.open()
