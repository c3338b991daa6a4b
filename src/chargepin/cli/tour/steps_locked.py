"""The second half of the tour: who gets in once the passcode is set, who does not, and until when.

Each step returns who saw what on the other side, and raises DoesNotHold where it is not so.
"""

import asyncio

from chargepin.app.errors import PasscodeWrong
from chargepin.cli.tour.doors import doors_tried, tries_left
from chargepin.cli.tour.steps_open import SECOND_INVITED, SECRET, Saw, invited
from chargepin.cli.tour.tale import (
    BEGINNING,
    DoesNotHold,
    Guesser,
    Tale,
    ended_well,
    events,
    expect,
)
from chargepin.cli.tour.world import NAME
from chargepin.core.bonds import Role
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.identity import Credential, Flag
from chargepin.core.log import Entry

PASSCODE_NEEDED = 4  # exit codes
PAUSED = 5
FREE_TRIES = 3
NEWCOMERS = 2
NEVER_DRAWN = "000000"
THIRD_INVITED = "the third user's invitation"
FIRST_PAUSE_S = 30


async def entry_required(tale: Tale) -> Saw:
    """Judged by the charger's log: who set it is asked, and not let in without an answer."""
    mark = await tale.protected()
    typed = ended_well(await tale.type("owner", "status", NAME), PASSCODE_NEEDED)
    expect(f"Passcode of {NAME}" in typed.out, "the owner was asked for no passcode")
    logged = await tale.logged(mark)
    expect(not logged, f"the charger's log has {events(logged)}")
    for talk in await tale.talks_of("owner", mark):
        expect(not talk.messages.tried, "the app tried a passcode that nobody typed")
    return {
        "the owner": "asked for the passcode, and without it shown nothing",
        "the charger": "no attempt in its log",
    }


async def wrong_passcode_refused(tale: Tale) -> Saw:
    """Judged by the charger's log and table of bonds, and by the owner's vault."""
    mark = await tale.mark()
    wrong = f"{tale.wrong_passcode}\n"
    ended_well(await tale.type("owner", "passcode", "enter", NAME, secret=wrong), PASSCODE_NEEDED)
    logged, durable = await tale.logged(mark), (await tale.kept()).durable
    expect(_attempts(logged) == 1, f"the charger's log has {events(logged)}")
    expect(durable.lockout.charged == 1, f"the charger has charged {durable.lockout.charged}")
    expect(not durable.bonds, "the charger gave a bond away")
    expect((await tale.known_to("owner")).bond is None, "the owner's vault has a bond")
    return {
        "the charger": "one attempt charged; no bond given",
        "the owner": "no bond in the vault",
    }


async def passcode_entered(tale: Tale) -> Saw:
    """Judged by the charger's log, and the role of the bond in its table."""
    mark = await tale.mark()
    right = f"{tale.passcode}\n"
    ended_well(await tale.type("owner", "passcode", "enter", NAME, secret=right))
    logged, durable = await tale.logged(mark), (await tale.kept()).durable
    expect(_attempts(logged) == _entered(logged) == 1, f"the charger's log has {events(logged)}")
    roles = [bond.role for bond in durable.bonds]
    expect(roles == [Role.OWNER], f"the charger's bonds have the roles {[r.word for r in roles]}")
    expect((await tale.known_to("owner")).bond is not None, "the owner's vault has no bond")
    return {"the charger": "log: attempt, passcode_entered, bond_added with the role owner"}


async def bonded_reconnect(tale: Tale) -> Saw:
    """Judged by the charger's log, and by what the app showed it on the air."""
    mark = await tale.protected()
    typed = ended_well(await tale.type("owner", "status", NAME))
    expect("Passcode of" not in typed.out, "the owner was asked again")
    logged = await tale.logged(mark)
    expect(not _attempts(logged), f"the charger's log has {events(logged)}")
    talks = await tale.talks_of("owner", mark)
    expect(
        [h.credential for t in talks for h in t.messages.hellos] == [Credential.BOND],
        "the app did not come with its bond alone",
    )
    flags = [params.flags for talk in talks for params in talk.messages.params]
    expect(all(flag & Flag.BOND_KNOWN for flag in flags), "the charger does not know the bond")
    return {"the charger": "let in by the bond; no new attempt in its log"}


async def same_passcode_later(tale: Tale) -> Saw:
    """Judged by the verifier in the charger's files, and by people who type the first passcode."""
    before, starts = tale.credential, (await tale.kept()).durable.starts
    tale.ahead(THIRD_INVITED, invited(tale, "third"))
    service = ("--account", tale.world.account)
    _, update, login = await asyncio.gather(
        tale.world.cut_power(),
        tale.type("owner", "update", NAME),  # which waits for the charger to come back
        tale.type("new-phone", "login", "owner", *service, secret=SECRET),
    )
    ended_well(update)
    ended_well(login)
    mark = await tale.mark()
    for newcomer in (
        await tale.inside("new-phone"),
        await tale.inside("lodger", Guesser([tale.passcode])),
    ):
        await newcomer.close()
    kept, logged = await tale.kept(), await tale.logged(mark)
    expect(_entered(logged) == NEWCOMERS, f"the charger's log has {events(logged)}")
    expect(kept.durable.starts >= starts + 2, "the charger was not restarted twice")
    software = [entry.detail["software"] for entry in kept.entries if entry.event == "started"]
    newer = Version.parse(str(software[-1])) > PASSCODE_SINCE
    expect(newer, f"the charger runs {software[-1]}: it was not updated")
    expect(kept.durable.generation == 1, f"its generation is {kept.durable.generation}")
    expect(kept.durable.credential == before, "the charger keeps another verifier than before")
    async with tale.account("owner") as client:
        held = [each.passcode for each in await client.passcodes(kept.identity.hex())]
    expect(held == [tale.passcode], "the account has another passcode than before")
    return {
        "the charger": f"after a power cut and the update to {software[-1]}: generation 1 and the"
        " same verifier; it let in a new phone by the account's passcode, and a lodger who was"
        " told the first one",
        "the account": "the same passcode",
    }


async def shared_with_second_user(tale: Tale) -> Saw:
    """Judged by the account's audit and the charger's log: invited before, switched off since."""
    await tale.protected()
    await tale.done(SECOND_INVITED)
    expect(not await tale.talks_of("second", BEGINNING), "the second user's app was not off")
    typed = ended_well(await tale.type("second", "status", NAME, "--no-input", "--json"))
    return await _let_in(tale, "second", str(typed.document.get("role")))


async def invited_later_has_it(tale: Tale) -> Saw:
    """Judged by the account's audit and the charger's log."""
    await tale.done(THIRD_INVITED)
    charger = await tale.inside("third")
    await charger.close()
    return await _let_in(tale, "third", charger.role)


async def _let_in(tale: Tale, who: str, role: str) -> Saw:
    """Whether an app got in with what the account shared, and by nothing else."""
    expect(role == "user", f"for the app its role is {role}")
    talks = await tale.talks_of(who, BEGINNING)
    hellos = [hello.credential for talk in talks for hello in talk.messages.hellos]
    expect(hellos == [Credential.PASSCODE], "the app did not come with the passcode alone")
    kept, bond = await tale.kept(), (await tale.known_to(who)).bond
    added = [e for e in kept.entries if bond and e.detail.get("bond") == bond.bond_id]
    expect([e.detail.get("role") for e in added] == ["user"], "its log has no user's bond for it")
    expect(kept.durable.generation == 1, f"its generation is {kept.durable.generation}")
    async with tale.account("owner") as client:
        audit = await client.audit(kept.identity.hex())
    shown = [entry for entry in audit.entries if entry.event == "passcode_revealed"]
    expect(
        who in [entry.detail.get("person") for entry in shown],
        "the account's audit shows nobody that the passcode was given to",
    )
    return {
        "the account": f"audit: passcode_revealed to {who}",
        "the charger": "log: bond_added for this app, with the role user; generation 1",
    }


async def stranger_refused(tale: Tale) -> Saw:
    """Judged door by door: by the answers, by what the charger sent, and by its files."""
    mark, before = await tale.protected(), await tale.kept()
    phone, answers = await doors_tried(tale)
    stood_open = [door for door, answer in answers.items() if answer is None]
    expect(not stood_open, f"let a stranger in: {', '.join(stood_open)}")
    kept, logged = await tale.kept(), await tale.logged(mark)
    expect(not logged, f"the charger's log has {events(logged)}")
    expect(kept.durable == before.durable, "the charger's state changed")
    expect(kept.bluetooth_bonds == before.bluetooth_bonds, "the charger keeps a Bluetooth bond")
    sent = await tale.talks_with(phone, mark)
    expect(not any(talk.notified for talk in sent), "the charger notified a stranger")
    told = "; ".join(f"{door}: {answer}" for door, answer in answers.items())
    return {"a stranger": told, "the charger": "nothing sent, nothing written, no bond"}


async def paused_after_failures(tale: Tale) -> Saw:
    """Judged by the charger's log and lockout: three wrong ones, and no fourth is taken."""
    mark = await tale.protected()
    for _ in range(FREE_TRIES):
        try:
            await (await tale.inside("stranger", Guesser([NEVER_DRAWN]))).close()
        except PasscodeWrong:
            continue
        raise DoesNotHold("a wrong passcode let the stranger in")
    tale.facts.paused, guess = await tale.mark(), f"{NEVER_DRAWN}\n"
    typed = ended_well(
        await tale.type("stranger", "passcode", "enter", NAME, "--json", secret=guess), PAUSED
    )
    error = typed.document.get("error", {})
    expect(error.get("code") == "paused", f"the app was told {error.get('code')}")
    wait_s = float(error.get("retry_after_s", 0))
    expect(0 < wait_s <= FIRST_PAUSE_S, f"the app was told to wait {wait_s} s")
    logged = await tale.logged(mark)
    expect(_attempts(logged) == FREE_TRIES, f"the charger's log has {events(logged)}")
    lockout = (await tale.kept()).durable.lockout
    expect(lockout.paused_until_s > logged[-1].running_s, "the charger's files have no pause")
    return {
        "a stranger": f"refused for another {wait_s:.0f} s",
        "the charger": f"{FREE_TRIES} attempts charged, and no fourth taken",
    }


async def owner_still_in(tale: Tale) -> Saw:
    """Judged by the charger's log, and by what it told the owner's app and a stranger."""
    since = tale.paused
    owner = await tale.inside("owner")
    status = await owner.status()
    await owner.close()
    expect(status.role == "owner", f"for the app its role is {status.role}")
    talks = await tale.talks_of("owner", since)
    flags = [params.flags for talk in talks for params in talk.messages.params]
    expect(flags and all(Flag.PAUSED in flag for flag in flags), "there was no pause")
    expect(all(talk.messages.granted for talk in talks), "the owner's app was not let in")
    ended_well(await tale.type("owner", "end-pause", NAME))
    logged, left = await tale.logged(since), await tries_left(tale)
    expect(not _attempts(logged), "the owner's bond was not enough")
    expect("pause_ended" in events(logged), f"the charger's log has {events(logged)}")
    expect(left, "a stranger is told that the pause goes on")
    return {
        "the charger": "let the owner in by the bond in spite of the pause; log: pause_ended",
        "a stranger": f"told of {left} tries again",
    }


def _attempts(logged: list[Entry]) -> int:
    return sum(entry.event == "attempt" for entry in logged)


def _entered(logged: list[Entry]) -> int:
    """How many proved the passcode and got a bond for it."""
    names = [entry.event for entry in logged]
    return min(names.count("passcode_entered"), names.count("bond_added"))
