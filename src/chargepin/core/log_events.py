"""What the security log tells of: each event's weight, and its name in OCPP where there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chargepin.core.log import Detail

TRIMMED = "log_trimmed"
CLEARED = "log_cleared"
DAMAGED = "log_damaged"
STRANGERS = "strangers"

REPLAYED = "record_broken"
"""A record that its session's keys do not open: changed, repeated or out of order."""

INVALID = ("breach", "malformed")
"""Counters of strangers who did not keep to the protocol."""


@dataclass(frozen=True, slots=True)
class Kind:
    """ocpp: the security event of OCPP 2.1 (part 2, appendix 1) that says the same, if any.

    evidence: outlives the trimming of a full log, up to a number of each. personal: its detail
    names a person or a phone, so that a reset erases it.
    """

    ocpp: str | None = None
    evidence: bool = False
    personal: bool = False


_CHANGED = "ReconfigurationOfSecurityParameters"
_CLEARED = "SecurityLogWasCleared"

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "started": Kind("StartupOfTheDevice"),
        "downgraded": Kind(evidence=True),
        "passcode_set": Kind(_CHANGED, evidence=True),
        "passcode_rotated": Kind(_CHANGED, evidence=True),
        "passcode_viewed": Kind(evidence=True),
        "attempt": Kind(),
        "attempts_warning": Kind(evidence=True),
        "paused": Kind(),
        "exhausted": Kind(evidence=True),
        "passcode_wrong": Kind("MaintenanceLoginFailed"),
        "passcode_unproved": Kind("MaintenanceLoginFailed"),
        "passcode_entered": Kind("MaintenanceLoginAccepted"),
        "bond_added": Kind(_CHANGED, evidence=True, personal=True),
        "bond_forgotten": Kind(_CHANGED, evidence=True),
        "bluetooth_bond_added": Kind(_CHANGED, evidence=True, personal=True),
        "bluetooth_bond_forgotten": Kind(_CHANGED, evidence=True),
        "pairing_window_opened": Kind(evidence=True),
        "pairing_window_closed": Kind(),
        "pairing_failed": Kind(personal=True),
        "pause_ended": Kind(evidence=True),
        "policy_set": Kind(_CHANGED, evidence=True),
        "claimed": Kind(_CHANGED, evidence=True, personal=True),
        "released": Kind(_CHANGED, evidence=True),
        "button_pressed": Kind(),
        "button_window_opened": Kind(),
        "owner_by_button": Kind(evidence=True),
        "reset": Kind("ResetOrReboot", evidence=True),
        "reset_refused": Kind(),
        "update_started": Kind(),
        "update_installed": Kind("FirmwareUpdated", evidence=True),
        "update_failed": Kind(),
        "tampered": Kind("TamperDetectionActivated", evidence=True),
        "tamper_ended": Kind(),
        "tamper_seen": Kind(evidence=True),
        STRANGERS: Kind(),
        "state_lost": Kind(_CLEARED, evidence=True),
        TRIMMED: Kind(),
        CLEARED: Kind(_CLEARED, evidence=True),
        DAMAGED: Kind(_CLEARED, evidence=True),
    }
)
"""Every event that a charger writes. One that is missing here is neither evidence nor personal."""

_UNKNOWN = Kind()


def kind_of(event: str) -> Kind:
    """Look an event up."""
    return KINDS.get(event, _UNKNOWN)


def ocpp_of(event: str, detail: Detail) -> str | None:
    """The OCPP security event that says the same as an entry; None if none does."""
    if event == STRANGERS:
        if REPLAYED in detail:
            return "AttemptedReplayAttacks"
        return "InvalidMessages" if any(name in detail for name in INVALID) else None
    return kind_of(event).ocpp
