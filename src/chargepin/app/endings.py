"""Why the way in ended, as the exception that tells a person."""

from collections.abc import Mapping

from chargepin.app.errors import (
    BondUnknown,
    ChangedElsewhere,
    ChargepinError,
    Exhausted,
    IdentityMismatch,
    PasscodeNeeded,
    PasscodeNotSet,
    PasscodeWrong,
    Paused,
    ProtocolError,
    UpdateNeeded,
)
from chargepin.core import entry
from chargepin.core.catalogue import PASSCODE_SINCE
from chargepin.core.entry import Reason


def ended(end: entry.End, name: str) -> ChargepinError:
    """The exception for the reason that the way in ended."""
    match end.reason:
        case Reason.UPDATE_APP:
            needed = str(end.needed) if end.needed else "a newer one"
            text = f"This app is too old for {name}: it needs {needed}. Nothing was changed."
            return UpdateNeeded(text, side="app", needed=needed)
        case Reason.UPDATE_CHARGER:
            text = f"{name} needs software {PASSCODE_SINCE} or newer. Update it first."
            return UpdateNeeded(text, side="charger", needed=str(PASSCODE_SINCE))
        case Reason.PASSCODE_WRONG:
            left = end.tries_left
            more = f"{left} more before a pause" if left else "the charger now pauses"
            return PasscodeWrong(
                f"That is not the passcode of {name}: {more}.",
                tries_left=left,
                retry_after_s=0.0 if left else None,
            )
        case Reason.PAUSED:
            return Paused(
                f"{name} takes no passcode for another {end.retry_after_s} s, after wrong ones."
                " Phones that it knows still get in, and an owner can end the pause.",
                retry_after_s=float(end.retry_after_s),
            )
        case reason:
            kind, text = _ENDS[reason]
            return kind(text.format(name=name))


_ENDS: Mapping[Reason, tuple[type[ChargepinError], str]] = {
    Reason.PASSCODE_NEEDED: (
        PasscodeNeeded,
        "{name} is protected. Ask an owner for access, or enter its 6-digit passcode.",
    ),
    Reason.PASSCODE_NOT_SET: (PasscodeNotSet, "{name} has no passcode yet."),
    Reason.EXHAUSTED: (
        Exhausted,
        (
            "{name} takes no more tries of this passcode, after too many wrong ones. An owner must"
            " rotate it; phones that the charger knows still get in."
        ),
    ),
    Reason.BOND_UNKNOWN: (
        BondUnknown,
        (
            "{name} could not prove that it knows this app: somebody may stand between. Nothing was"
            " sent. Go close to the charger and try again."
        ),
    ),
    Reason.CHANGED: (
        ChangedElsewhere,
        "The passcode of {name} was changed by somebody else. Ask an owner for the new one.",
    ),
    Reason.OTHER_IDENTITY: (
        IdentityMismatch,
        (
            "This is not the {name} that this app or its account knows: its identity is another"
            " one. Nothing was sent. If the charger was replaced, run"
            " `chargepin phones forget-charger {name}`."
        ),
    ),
    Reason.OLDER_STATE: (
        IdentityMismatch,
        (
            "{name} answers with an older state than it had. Nothing was sent. It may have been"
            " restored from a copy, or somebody imitates it."
        ),
    ),
    Reason.NO_LONGER_PROTECTED: (
        IdentityMismatch,
        (
            "{name} says that it has no passcode any more. Nothing was sent. If it was reset, run"
            " `chargepin phones forget-charger {name}` and set it up again."
        ),
    ),
    Reason.SERVICE_MISSING: (
        IdentityMismatch,
        (
            "{name} no longer offers its passcode service. Nothing was sent. It may be imitated,"
            " or run software older than it did."
        ),
    ),
    Reason.TOO_MANY_TRIES: (
        Exhausted,
        (
            "This app tried the passcode of {name} too often without a valid answer: nothing was"
            " sent. Somebody may imitate the charger: go close to it and try again. If that doesn't"
            " help, run `chargepin phones forget-charger {name}`, then `chargepin connect {name}`,"
            " and enter it again; where this app was the owner's, press the charger's button once"
            " while it is connected."
        ),
    ),
    Reason.CHARGER_STORAGE: (
        ProtocolError,
        (
            "{name} cannot store or read its state, so it lets in nobody that it does not know."
            " Nothing was changed. Switch it off and on; if that doesn't help, its owner can erase"
            " it with the button."
        ),
    ),
    Reason.PROTOCOL: (ProtocolError, "{name} does not follow the protocol."),
}
