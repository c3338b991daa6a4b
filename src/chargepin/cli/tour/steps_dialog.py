"""The tour's steps of a phone that has not got the app: its own pairing dialog, a one-time code.

Each step returns who saw what on the other side, and raises DoesNotHold where it is not so.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from chargepin.app.phones import Phone
from chargepin.charger.air import AttError
from chargepin.charger.bluetooth.smp import Reason
from chargepin.cli.tour.overheard import Talk
from chargepin.cli.tour.steps_open import Saw
from chargepin.cli.tour.stock_phone import StockLink, StockPhone, TurnedAway, Typist
from chargepin.cli.tour.tale import DoesNotHold, Mark, Tale, ended_well, events, expect
from chargepin.cli.tour.world import NAME, Typed

GUEST: Final = "guest"
GUESTS_PHONE: Final = "the guest's phone"
_ROUNDS: Final = 20  # a typed code has as many bits
_SHOWN_WITHIN_S: Final = 20.0
_HUNG_UP_WITHIN_S: Final = 10.0
_NOT_A_CODE: Final = 271828
_OF_OWNERS: Final = "g_ocpp"


async def refused_outside(tale: Tale) -> Saw:
    """Judged by what the charger's adapter said, its files, and the phone, which is not mute."""
    mark, before = await tale.protected(), await tale.kept()
    phone, person = await _phone_of(tale, _NOT_A_CODE)
    link = await phone.connect(NAME)
    answers = [await _refusal(link.read), await _refusal(link.pair)]
    expect(not link.closed.is_set(), "the charger hung up on the phone instead of answering")
    await link.close()
    expect(not person.asked, "the phone asked for a code that nobody can know")
    talk = await _talk(tale, phone, mark)
    told = f"{GUESTS_PHONE} was told: {', '.join(answers)}"
    expect(AttError.INSUFFICIENT_AUTHORIZATION.value in talk.att_errors, told)
    expect(talk.pairing_refusals == [Reason.PAIRING_NOT_SUPPORTED], told)
    kept = await tale.kept()
    expect(kept.bluetooth_bonds == before.bluetooth_bonds, "the charger keeps a Bluetooth bond")
    expect(kept.durable == before.durable, "the charger's state changed")
    return {
        GUESTS_PHONE: f"told at once, and asked for nothing: {', '.join(answers)}",
        "the charger": "answered with ATT 0x08 and SMP 0x05; no bond kept",
    }


async def by_code(tale: Tale) -> Saw:
    """Judged by the charger's log, its bonds, and what its adapter exchanged with the phone."""
    mark = await tale.protected()
    code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    opening = asyncio.create_task(_opened(tale, code))
    try:
        phone, person = await _phone_of(tale, await _shown(opening, code))
        link = await phone.connect(NAME)
        await link.pair()
        status = await _read(link)
        refused = await link.ask(_OF_OWNERS)
        await link.close()
        bond = str(ended_well(await opening).document.get("id"))
    except TurnedAway as reason:
        raise DoesNotHold(f"{GUESTS_PHONE} was turned away: {reason}") from reason
    finally:
        opening.cancel()
        await asyncio.wait([opening])
    expect(person.asked == 1, f"the phone asked for a code {person.asked} times")
    expect("error" in refused, f"a guest was answered to {_OF_OWNERS}, which is the owner's")
    logged = await tale.logged(mark)
    added = [e.detail.get("bond") for e in logged if e.event == "bluetooth_bond_added"]
    expect(added == [bond], f"the charger's log has {events(logged)}")
    expect(phone.address in (await tale.kept()).bluetooth_bonds, "the charger kept no bond")
    rounds = (await _talk(tale, phone, mark)).pairing_rounds
    expect(rounds == _ROUNDS, f"the charger compared {rounds} bits of a code, not {_ROUNDS}")
    tale.facts.guest = bond
    return {
        GUESTS_PHONE: f"asked for the code once, in its own dialog; then read: {status}",
        "the charger": f"log: {events(logged)}; refused the guest what is the owner's",
    }


async def bonded(tale: Tale) -> Saw:
    """Judged by what the charger's adapter exchanged with the phone, its log, and its bonds."""
    bond, mark = tale.guest, await tale.mark()
    phone, person = await _phone_of(tale, _NOT_A_CODE)
    listing = asyncio.create_task(tale.type("owner", "phones", "list", NAME, "--json"))
    try:
        link = await phone.connect(NAME)
        await link.encrypt()
        status = await _read(link)
    except TurnedAway as reason:
        raise DoesNotHold(f"{GUESTS_PHONE} was turned away: {reason}") from reason
    finally:
        await asyncio.wait([listing])
    talk = await _talk(tale, phone, mark)
    expect(talk.encrypted and not talk.pairing, "the phone did not come by its bond alone")
    expect(not person.asked, "the phone asked for a code again")
    phones = msgspec.json.decode(ended_well(await listing).out, type=list[Phone])
    listed = [each.role for each in phones if (each.id, each.kind) == (bond, "bluetooth")]
    expect(listed == ["user"], f"`phones list` shows it {len(listed)} times")
    again = await _forgotten(tale, phone, link, bond)
    logged = events(await tale.logged(mark))
    expect(logged == "bluetooth_bond_forgotten", f"the charger's log has {logged}")
    return {
        GUESTS_PHONE: f"by its bond alone: {status}; once forgotten: hung up on, {again}",
        "the charger": f"listed it as a user; log: {logged}; no bond kept",
    }


async def _forgotten(tale: Tale, phone: StockPhone, link: StockLink, bond: str) -> str:
    """Have the owner forget the phone while it is connected; gives what it meets afterwards."""
    ended_well(await tale.type("owner", "phones", "forget", NAME, bond))
    try:
        async with asyncio.timeout(_HUNG_UP_WITHIN_S):
            await link.closed.wait()
    except TimeoutError:
        raise DoesNotHold("the phone is forgotten and still connected") from None
    expect(phone.address not in (await tale.kept()).bluetooth_bonds, "the charger keeps its bond")
    back = await phone.connect(NAME)
    answers = [await _refusal(back.encrypt), await _refusal(back.read)]
    await back.close()
    return ", ".join(answers)


async def _phone_of(tale: Tale, code: int) -> tuple[StockPhone, Typist]:
    """The guest's phone, and a guest who will type this into its dialog."""
    phone, person = await tale.phone(GUEST), Typist(code)
    phone.accept_with(person, mitm=True)
    return phone, person


async def _opened(tale: Tale, code: "asyncio.Future[int]") -> Typed:
    """Have the owner open a window; code: the first one that is shown."""

    def read(line: str) -> None:
        shown = re.match(r"Code (\d{6})\b", line)
        if shown and not code.done():
            code.set_result(int(shown[1]))

    command = ("pairing", "open", NAME, "--name", GUEST, "--json")
    return await tale.type("owner", *command, listener=read)


async def _shown(opening: "asyncio.Task[Typed]", code: "asyncio.Future[int]") -> int:
    """Wait for the code that the owner sees. Raises DoesNotHold if none is shown."""
    either: list[asyncio.Future[Any]] = [opening, code]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=_SHOWN_WITHIN_S)
    if not code.done():
        if opening.done():
            ended_well(opening.result())
        raise DoesNotHold("the owner was shown no code")
    return code.result()


async def _read(link: StockLink) -> str:
    """Read the status as clients of real chargers do. Raises TurnedAway and DoesNotHold."""
    await link.subscribe()
    reply = await link.ask("r_dat")
    expect("st" in reply.get("r", {}), f"the charger answered to r_dat: {reply}")
    return f"r_dat, state {reply['r']['st']}"


async def _refusal(attempt: Callable[[], Coroutine[Any, Any, object]]) -> str:
    """What the charger answers. Raises DoesNotHold if it does not refuse."""
    try:
        await attempt()
    except TurnedAway as reason:
        return str(reason)
    raise DoesNotHold(f"the charger let {GUESTS_PHONE} {attempt.__name__}")


async def _talk(tale: Tale, phone: StockPhone, since: Mark) -> Talk:
    """The phone's newest connection, as the charger saw it."""
    talks = await tale.talks_with(phone.address, since)
    expect(talks, "the charger's adapter saw no connection of the phone")
    return talks[-1]
