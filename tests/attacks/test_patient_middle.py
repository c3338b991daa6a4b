"""The patient one: between an app and its charger, day after day, it lets some visits through.

It wants the passcode. An app that knows its charger uses a bond; so it shows the app a nonce that
is not the charger's, and the charger itself then says, signed, that it doesn't know that bond. The
app falls back on the passcode that it keeps, and each such try is worth one guess. Every third one
it lets through to the charger, so that the app is content, comes back, and has a new bond: a
user's, instead of the owner's that it gave up.
"""

from pathlib import Path

import msgspec
import pytest

from attacks.report import Row, Tell
from attacks.stage import Line, Victim, victim
from attacks.test_fake_charger import RIGHT, SKIPPED, Collector, relayed
from attacks.test_middle import Middle
from attacks.twin import Twin, twin
from chargepin.app import errors
from chargepin.core.entry import AUTOMATIC_TRIES
from docs import mini_client as mini
from ends import SERIAL, Phone

GUESSED = 2  # of three visits


class Patient(Collector):
    """Guesses, or passes everything on."""

    middle: Middle | None = None

    async def talk(self, it: Twin, link: int, message: bytes) -> None:
        if self.middle is not None:
            await self.middle.talk(it, link, message)
        else:
            await super().talk(it, link, message)


async def visits(on: Victim, it: Twin, patient: Patient, app: Phone, radio: Phone) -> list[str]:
    """Let the app, where nobody is asked, come three times; gives how each visit ended."""
    ends: list[str] = []
    for number in range(GUESSED + 1):
        through = number == GUESSED
        patient.middle = Middle(await Line.of(radio)) if through else None
        try:
            charger = await it.lure(app)
        except errors.ChargepinError as error:
            ends.append(type(error).__name__)
        else:
            ends.append(charger.role)
            await charger.close()
        if patient.middle is not None:
            await patient.middle.end()
        if patient.learned:
            break
    assert on.charged == 0  # the charger itself saw no wrong one
    return ends


async def test_patient_middle(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path, index=RIGHT) as on:
        radio = await on.ends.phone("between")
        known = on.owner.vault.known[SERIAL]
        bonded = await on.ends.phone("bonded")
        bonded.vault.put(known)
        held = Patient(relayed(on, await on.ends.phone("relay")))
        async with twin(on.ends, held.talk) as it:
            ends = await visits(on, it, held, bonded, radio)
            assert ends == ["PasscodeWrong", "PasscodeWrong", "IdentityMismatch"]
            ends = await visits(on, it, held, bonded, radio)
            assert ends == ["Exhausted"] * 3
        assert (held.tried, held.learned) == (AUTOMATIC_TRIES - 1, [])
        direct = await bonded.enter()  # the charger itself it reaches by bond, as ever
        assert direct.role == "owner"
        await direct.close()
        assert len(on.daemon.service.guard.durable.bonds) == 1

        # Without: an app that forgives itself everything as soon as it is let in.
        forgiving = await on.ends.phone("forgiving")
        forgiving.vault.put(known)
        gains = Patient(relayed(on, await on.ends.phone("relay")), tried=SKIPPED)
        async with twin(on.ends, gains.talk) as it:
            while not gains.learned:
                await visits(on, it, gains, forgiving, radio)
                forgiving.vault.update(SERIAL, lambda kept: msgspec.structs.replace(kept, tries={}))
        assert gains.learned == [on.code]
        tell(
            Row(
                "25 patient middle",
                held.tried,
                f"nothing: {held.tried} guesses, then the app gives no more, and its bond still"
                " makes it the owner",
                f"the passcode, from guess {gains.tried} of an app that forgives itself when a"
                " try is let through",
                "a confirmed try gives back itself and no other; a session names the nonce of its"
                " link",
            )
        )


async def test_a_share_that_is_never_answered_tells_nothing_and_is_no_try(tmp_path: Path) -> None:
    async with victim(tmp_path) as on:
        answer = relayed(on, await on.ends.phone("relay"))

        async def hang_up(it: Twin, link: int, message: bytes) -> None:
            if message[0] == mini.HELLO:
                it.say(link, await answer(message))
            else:
                it.air.drop(link, flush=False)

        app = await on.ends.phone("bonded")
        app.vault.put(on.owner.vault.known[SERIAL])
        async with twin(on.ends, hang_up) as it:
            for _ in range(AUTOMATIC_TRIES + 1):
                with pytest.raises(errors.LinkLost):
                    await it.lure(app)
        assert app.vault.known[SERIAL].tries == {"1": (0, 0)}
