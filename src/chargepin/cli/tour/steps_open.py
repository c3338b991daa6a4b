"""The first half of the tour: from a charger whose software is too old to one that hangs up.

Each step returns who saw what on the other side, and raises DoesNotHold where it is not so.
"""

import asyncio
import re
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import TypeAlias

from chargepin.app.account import AccountClient
from chargepin.app.client import enter, find
from chargepin.app.errors import AccountRefused, UpdateNeeded
from chargepin.cli.tour.tale import (
    CannotRun,
    DoesNotHold,
    Tale,
    asked,
    ended_well,
    expect,
    shown_passcode,
)
from chargepin.cli.tour.world import FACTORY_SOFTWARE, NAME, Typed
from chargepin.core import handshake
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.durable import Mode
from chargepin.core.gatt import PASSCODE_SERVICE
from chargepin.core.identity import Credential, RefusalCode, State
from chargepin.core.messages import PasscodeState

Saw: TypeAlias = Mapping[str, str]
"""By whom, what: the words that a step ends in."""

OLD_APP = Version(0, 0, 1)
PASSWORD = "a password for the tour"  # noqa: S105 - of people who exist for some seconds
SECRET = f"{PASSWORD}\n"
CLAIM, SECOND_INVITED = "the owner's claim", "the second user's invitation"
_PATIENCE_S = 10.0
_PHONES = 3


async def update_offered(tale: Tale) -> Saw:
    """Judged by what a phone without the app finds: nothing new, and the old software."""
    typed = ended_well(await tale.type("owner", "connect", NAME, keys="n\n"))
    offered = re.search(r"Install (\S+) now\?", typed.out)
    if offered is None:
        raise DoesNotHold("the app offered no update")
    expect(f"needs {PASSCODE_SINCE} or newer" in typed.out.replace("\n", " "), "it gave no reason")
    services, software = await _looked_at(tale)
    expect(PASSCODE_SERVICE not in services, "the charger advertises the passcode service already")
    expect(software == FACTORY_SOFTWARE, f"the charger runs {software}, not {FACTORY_SOFTWARE}")
    return {
        "the owner": f"{offered[1]} offered, since a passcode needs {PASSCODE_SINCE}",
        "a phone without the app": f"no passcode service advertised, software {software} as before",
    }


async def updated(tale: Tale) -> Saw:
    """Judged by the advertising, and by the version that a stock client reads."""
    update, _ = await asyncio.gather(
        tale.type("owner", "update", NAME, "--to", str(PASSCODE_SINCE)), _signed_up(tale)
    )
    ended_well(update)
    services, software = await _looked_at(tale)
    expect(PASSCODE_SERVICE in services, "the charger advertises no passcode service")
    expect(software == str(PASSCODE_SINCE), f"the charger runs {software}, not {PASSCODE_SINCE}")
    return {"a phone without the app": f"passcode service advertised, software {software}"}


async def _looked_at(tale: Tale) -> tuple[frozenset[str], str]:
    """What a stock phone finds: the services that are advertised, and the software's version."""
    phone = await tale.phone("neighbour")
    services = (await phone.advert(NAME)).services
    link = await phone.connect(NAME)
    try:
        await link.pair()
        await link.subscribe()
        software = (await link.ask("fw_v_")).get("s")
    finally:
        await link.close()
    return services, str(software)


async def _signed_up(tale: Tale) -> None:
    """People make their accounts while the update is downloaded. Whoever needs one finds out."""
    people = ("owner", "second", "third")
    arguments = ("--account", tale.world.account)
    await asyncio.gather(
        *(tale.type(who, "signup", who, *arguments, secret=SECRET) for who in people)
    )


async def app_version_checked(tale: Tale) -> Saw:
    """Judged by the charger's refusal on the air, its files, and the account's own records."""
    before, mark = await tale.kept(), await tale.mark()
    around = replace(await tale.app("old-app"), app=OLD_APP)
    by_charger = await _told_to_update(enter(around, await find(around, NAME)))
    codes = [
        refusal.code
        for talk in await tale.talks_of("old-app", mark)
        for refusal in talk.messages.refusals
    ]
    expect(codes == [RefusalCode.APP_TOO_OLD], "the charger refused nothing on the air")
    after = await tale.kept()
    expect((after.durable, after.entries) == (before.durable, before.entries), "its files changed")
    async with asked(AccountClient(tale.world.account, app=str(OLD_APP))) as client:
        by_account = await _told_to_update(client.enter("old-app", PASSWORD, new=True))
    async with asked(AccountClient(tale.world.account)) as client:
        try:
            await client.enter("old-app", PASSWORD, new=False)
        except AccountRefused as refused:
            expect(refused.refusal == "wrong_password", f"the account answered: {refused}")
        else:
            raise DoesNotHold("the account took an app that is too old")
    return {
        "the charger": f"told app {OLD_APP} to update to {by_charger}; its files are as before",
        "the account": f"told it to update to {by_account}; nobody new is known there",
    }


async def _told_to_update(work: Awaitable[object]) -> str:
    try:
        await work
    except UpdateNeeded as needed:
        expect(needed.side == "app", f"the {needed.side} was said to be too old, not the app")
        return needed.needed
    raise DoesNotHold(f"an app of version {OLD_APP} was let in")


async def pairing_accepted(tale: Tale) -> Saw:
    """Judged by the charger's Bluetooth bonds, and the end of the link at its adapter."""
    tale.ahead(CLAIM, _claimed(tale))
    mark, phone = await tale.mark(), await tale.phone("passer-by")
    link = await phone.connect(NAME)
    tale.facts.connected["a phone without the app"] = link.closed
    await link.pair()
    await link.subscribe()
    reply = await link.ask("r_dat")
    expect("st" in reply.get("r", {}), f"it answered to r_dat: {reply}")
    talks = await tale.talks_with(phone.address, mark)
    expect(any(talk.encrypted for talk in talks), "the link is not encrypted")
    expect(phone.address in (await tale.kept()).bluetooth_bonds, "the charger kept no bond")
    return {
        "the charger": f"the link is encrypted; the bond of {phone.address} is kept",
        "a phone without the app": "paired without a code, subscribed, and read r_dat",
    }


async def _claimed(tale: Tale) -> Typed:
    """What an owner does in the app before sharing a charger."""
    return ended_well(await tale.type("owner", "claim", NAME))


async def connected_open(tale: Tale) -> Saw:
    """Judged by what the charger's adapter exchanged with the app on the owner's tablet."""
    tale.ahead(SECOND_INVITED, invited(tale, "second"))
    mark = await tale.mark()
    typed = await tale.type("tablet", "status", NAME, "--json")
    talks = await tale.talks_of("tablet", mark)
    for who in ("tablet", "stranger"):
        await _left_open(tale, who)
    status = ended_well(typed).document
    expect(status.get("passcode") == "open", f"the app shows: {status}")
    (talk,) = talks
    said = talk.messages
    expect([h.credential for h in said.hellos] == [Credential.OPEN], "it said no open HELLO")
    expect([p.state for p in said.params] == [State.OPEN], "the charger did not say it is open")
    identity = (await tale.kept()).identity
    expect(said.signed_by(identity), "the charger's answer is not signed by its identity")
    expect(said.granted, "no session was granted")
    return {
        "the owner": f"{status.get('state')}, {status.get('passcode')}",
        "the charger": "an open session, its answer signed by the identity in its files",
    }


async def invited(tale: Tale, who: str) -> Typed:
    """Somebody is invited by the owner, and accepts."""
    await tale.done(CLAIM)
    typed = ended_well(await tale.type("owner", "invite", NAME, who, "--json"))
    return ended_well(await tale.type(who, "accept", str(typed.document["link"])))


async def _left_open(tale: Tale, who: str) -> None:
    """Somebody's app that stays connected."""
    charger = await tale.inside(who)
    gone = asyncio.Event()
    charger.on_close(gone.set)
    tale.facts.connected[f"the {who}'s app"] = gone


async def passcode_offered(tale: Tale) -> Saw:
    """Judged by the charger's files: it is as open as before."""
    await tale.over(CLAIM)  # the owner's phone does one thing at a time
    typed = ended_well(await tale.type("owner", "connect", NAME, keys="n\n"))
    expect(f"Protect {NAME}" in typed.out, "no pop-up was shown")
    expect("Set the passcode?" in typed.out, "the pop-up asked nothing")
    durable = (await tale.kept()).durable
    expect(durable.mode is Mode.OPEN, f"the charger is {durable.mode.value}")
    expect(durable.generation == 0, f"the charger has generation {durable.generation}")
    return {
        "the owner": "a pop-up, answered with no",
        "the charger": "still open, generation 0",
    }


async def passcode_assigned(tale: Tale) -> Saw:
    """Judged by the verifier in the charger's files, made anew from the account's passcode."""
    tale.facts.connected = {
        w: gone for w, gone in tale.facts.connected.items() if not gone.is_set()
    }
    typed = ended_well(await tale.type("owner", "passcode", "set", NAME))
    shown = shown_passcode(typed)
    kept = await tale.kept()
    durable, credential = kept.durable, kept.durable.credential
    tale.facts.passcode, tale.facts.credential = shown, credential
    expect(shown, "the owner was shown no passcode")
    expect(durable.mode is Mode.PROTECTED, f"the charger is {durable.mode.value}")
    expect(durable.generation == 1, f"its generation is {durable.generation}")
    async with tale.account("owner") as client:
        held = await client.passcodes(kept.identity.hex())
        views = [view for view in await client.chargers() if view.id == kept.identity.hex()]
    expect([h.passcode for h in held] == [shown], "the account has another passcode than was shown")
    (view,) = views
    expect(
        view.passcode_state == PasscodeState.ACTIVE, f"for the account it is {view.passcode_state}"
    )
    expect(view.reached, "for the account the charger was not reached")
    witness = await asyncio.to_thread(
        handshake.passcode_witness, held[0].code, kept.identity, held[0].salt, held[0].profile
    )
    made = handshake.verifier_of(witness)
    expect(
        credential is not None and credential.verifier == made,
        "the charger keeps a verifier of something else than the account's passcode",
    )
    return {
        "the charger": "protected, generation 1; its verifier is that of the account's passcode",
        "the account": "active, by the charger's signed receipt",
    }


async def phones_disconnected(tale: Tale) -> Saw:
    """Judged by the ends of the links, on the phones."""
    await tale.protected()
    waiting = tale.facts.connected
    if len(waiting) < _PHONES:
        raise CannotRun(f"only {len(waiting)} of {_PHONES} phones were connected beforehand")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*(gone.wait() for gone in waiting.values()))
    except TimeoutError:
        left = [whose for whose, gone in waiting.items() if not gone.is_set()]
        raise DoesNotHold(f"still connected: {', '.join(left)}") from None
    return dict.fromkeys(waiting, "the connection was interrupted")
