"""The tour: the article's steps one after another, each timed and judged, none able to stop it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import msgspec

from chargepin.cli.tour import steps_dialog as dialog
from chargepin.cli.tour import steps_locked as locked
from chargepin.cli.tour import steps_open as opening
from chargepin.cli.tour.steps_open import Saw
from chargepin.cli.tour.tale import CannotRun, DoesNotHold, Tale
from chargepin.cli.tour.world import World

STEP_WITHIN_S: Final = 120.0

OWNER, CHARGER, SECOND, STRANGER = "the owner", "the charger", "the second user", "a stranger"
"""Who the story is about; others appear in it."""

Run: TypeAlias = Callable[[Tale], Awaitable[Saw]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the article. number: the article's own. does: who does what, for a person."""

    name: str
    number: int
    title: str
    run: Run
    does: Mapping[str, str] = field(default_factory=dict)


class StepResult(msgspec.Struct, frozen=True):
    """How a step ended. detail: who saw what on the far side, or what was found instead."""

    name: str
    ok: bool
    detail: str
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """How a tour ended."""

    ok: bool
    steps: list[StepResult]


class Audience(Protocol):
    """Somebody who follows a tour."""

    async def begins(self, step: Step) -> None: ...

    async def ended(self, step: Step, result: StepResult, saw: Saw) -> None: ...


STEPS: Final = (
    Step(
        "update-offered",
        1,
        "The charger must run software 6.7.17 or newer. Older: the app offers the update.",
        opening.update_offered,
        {OWNER: "connects; is offered the update and says no", CHARGER: "runs 6.7.10"},
    ),
    Step(
        "updated",
        1,
        "The update is installed.",
        opening.updated,
        {OWNER: "updates the charger, and makes an account", CHARGER: "installs and restarts"},
    ),
    Step(
        "app-version-checked",
        1,
        "The app must be current, too.",
        opening.app_version_checked,
        {STRANGER: "comes with app 0.0.1", CHARGER: "asks for a newer app"},
    ),
    Step(
        "pairing-accepted",
        2,
        "A phone connects, accepting the pairing request.",
        opening.pairing_accepted,
        {OWNER: "claims the charger for her account", STRANGER: "pairs a phone without the app"},
    ),
    Step(
        "connected-open",
        2,
        "The app connects. Without a passcode, so can anyone within ten metres.",
        opening.connected_open,
        {
            OWNER: "looks at the status on her tablet, and invites the second user",
            SECOND: "accepts, and switches the app off",
            STRANGER: "connects too",
        },
    ),
    Step(
        "passcode-offered",
        3,
        "A pop-up offers to set up the Bluetooth passcode.",
        opening.passcode_offered,
        {OWNER: "connects; sees the pop-up and says no"},
    ),
    Step(
        "passcode-assigned",
        4,
        "A fixed 6-digit passcode, unique to this charger, is assigned automatically.",
        opening.passcode_assigned,
        {OWNER: "has the passcode set", CHARGER: "stores a verifier and signs a receipt"},
    ),
    Step(
        "phones-disconnected",
        4,
        "The Bluetooth connection is interrupted: every phone is disconnected.",
        opening.phones_disconnected,
        {CHARGER: "hangs up on everybody", STRANGER: "is cut off"},
    ),
    Step(
        "entry-required",
        5,
        "To reconnect, the passcode must be entered, by the one who set it, too.",
        locked.entry_required,
        {OWNER: "asks for the status, and types nothing", CHARGER: "shows nothing"},
    ),
    Step(
        "wrong-passcode-refused",
        5,
        "A wrong passcode is refused.",
        locked.wrong_passcode_refused,
        {OWNER: "mistypes the last digit", CHARGER: "charges one attempt, and refuses"},
    ),
    Step(
        "passcode-entered",
        5,
        "The right one lets the phone in.",
        locked.passcode_entered,
        {OWNER: "types the passcode", CHARGER: "lets her in, and remembers her phone"},
    ),
    Step(
        "bonded-reconnect",
        5,
        "A phone that has proved it once is not asked again.",
        locked.bonded_reconnect,
        {OWNER: "looks at the status", CHARGER: "knows the phone"},
    ),
    Step(
        "same-passcode-later",
        5,
        "The passcode stays: through power cuts, updates, new phones and new people.",
        locked.same_passcode_later,
        {
            OWNER: "updates again; enters the passcode on a new phone, tells it to a lodger",
            CHARGER: "loses its power, starts again, installs the update",
        },
    ),
    Step(
        "shared-with-second-user",
        6,
        "The passcode is shared automatically with all users who have access.",
        locked.shared_with_second_user,
        {SECOND: "switches the app on and looks at the status: nothing to type"},
    ),
    Step(
        "invited-later-has-it",
        6,
        "Who is given access later has it as well.",
        locked.invited_later_has_it,
        {OWNER: "invites a third user, who looks at the status"},
    ),
    Step(
        "stranger-refused",
        5,
        "Who does not know it gets in by no door.",
        locked.stranger_refused,
        {STRANGER: "reads, writes, subscribes, pairs, pretends", CHARGER: "refuses each"},
    ),
    Step(
        "paused-after-failures",
        5,
        "Guessing is paused.",
        locked.paused_after_failures,
        {STRANGER: "guesses three times, then once more", CHARGER: "takes no more for a while"},
    ),
    Step(
        "owner-still-in",
        5,
        "A pause keeps nobody out who has been let in.",
        locked.owner_still_in,
        {OWNER: "looks at the status, and ends the pause", STRANGER: "may try again"},
    ),
    Step(
        "phone-dialog-refused-outside",
        5,
        "A phone without the app, a guest's: its own pairing dialog is refused, and told so.",
        dialog.refused_outside,
        {STRANGER: "is a guest, and tries to pair", CHARGER: "refuses at once"},
    ),
    Step(
        "phone-dialog-code",
        5,
        "Unless the owner opens a pairing window, and tells the guest its one-time code.",
        dialog.by_code,
        {
            OWNER: "opens a pairing window",
            CHARGER: "draws a code that is good for one attempt",
            STRANGER: "is a guest, and types it into the phone's own dialog",
        },
    ),
    Step(
        "phone-dialog-bonded",
        5,
        "The guest's phone is not asked again, until it is forgotten.",
        dialog.bonded,
        {
            OWNER: "looks at the list of phones, and has this one forgotten",
            CHARGER: "knows the phone, and then does not",
            STRANGER: "is a guest, comes back and looks at the status",
        },
    ),
)


class Nobody:
    """An audience that is not there."""

    async def begins(self, step: Step) -> None:
        """Nobody waits for it."""

    async def ended(self, step: Step, result: StepResult, saw: Saw) -> None:
        """Nobody looks."""


async def tour(
    world: World,
    audience: Audience | None = None,
    until: str | None = None,
    steps: Sequence[Step] = STEPS,
) -> Report:
    """Go through steps in a world: through all, if it has just begun.

    until: the name of the last one.
    """
    following = audience or Nobody()
    results: list[StepResult] = []
    async with Tale(world) as tale:
        for step in steps:
            await following.begins(step)
            result, saw = await _taken(step, tale)
            results.append(result)
            await following.ended(step, result, saw)
            if step.name == until:
                break
    return Report(all(result.ok for result in results), results)


async def _taken(step: Step, tale: Tale) -> tuple[StepResult, Saw]:
    saw: Saw = {}
    began_s = time.monotonic()
    try:
        tale.world.check()
        async with asyncio.timeout(STEP_WITHIN_S):
            saw = await step.run(tale)
    except DoesNotHold as finding:
        detail = str(finding)
    except CannotRun as missing:
        detail = f"cannot be tried: {missing}"
    except TimeoutError:
        detail = f"was not over within {STEP_WITHIN_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - whatever it is, the later steps may still run
        detail = f"{type(error).__name__}: {error}"
    else:
        detail = "; ".join(f"{who}: {what}" for who, what in saw.items())
    seconds = round(time.monotonic() - began_s, 3)
    return StepResult(step.name, bool(saw), detail, seconds), saw
