"""One exception per cause. Each says what happened, whether it may have taken effect, what next.

ChargepinError
├── NoRadio             no Bluetooth to work with
├── NotFound            no such charger in range
├── WeakSignal          found, but too faint to connect (rssi_dbm)
├── Busy                another phone holds the link
├── NotHeld             no program of this home holds the connection
├── LinkLost            the connection broke off
├── UpdateNeeded        the charger's software or this app is too old
├── PasscodeNotSet      the charger is open
├── PasscodeNeeded      nobody has given this app the passcode
├── PasscodeWrong       tries_left
├── Paused              retry_after_s
├── Exhausted           no more tries for this passcode
├── BondUnknown         the charger could not prove that it knows this app
├── ChangedElsewhere    somebody else changed the passcode meanwhile
├── IdentityMismatch    not the charger it was
├── RoleTooLow          not allowed for this app's role
├── ChargerRefused      the charger answered a request with an error (code)
├── Ignored             the charger answered, but did not do it (reads)
├── NotAnswered         the charger is there, but does not answer this method
├── MakersAppNeeded     only the maker's own app can do that on this charger
├── ProtocolError       the other side does not speak the protocol
├── VaultError          the secrets' store failed
├── AccountUnreachable  the account service does not answer
├── AccountRefused      the account service said no (code)
└── Cancelled           a person said no, or nobody was there to ask
"""


class ChargepinError(Exception):
    """What went wrong, in a sentence for a person.

    code: stable name for scripts. may_have_happened: the action may have taken effect all the
    same. retry_after_s: seconds until trying again may help; 0.0 means at once, None that
    trying again will not help by itself.
    """

    code: str = "error"

    def __init__(
        self,
        message: str,
        *,
        may_have_happened: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened
        self.retry_after_s = retry_after_s


class NoRadio(ChargepinError):
    """No Bluetooth to work with."""

    code = "no_radio"


class NotFound(ChargepinError):
    code = "not_found"


class WeakSignal(ChargepinError):
    code = "weak_signal"

    def __init__(self, message: str, *, rssi_dbm: int) -> None:
        super().__init__(message, retry_after_s=0.0)
        self.rssi_dbm = rssi_dbm


class Busy(ChargepinError):
    code = "busy"


class NotHeld(ChargepinError):
    code = "not_held"


class LinkLost(ChargepinError):
    code = "link_lost"


class UpdateNeeded(ChargepinError):
    """side: "charger" or "app"; needed: the oldest version that will do, as text."""

    code = "update_needed"

    def __init__(self, message: str, *, side: str, needed: str) -> None:
        super().__init__(message)
        self.side = side
        self.needed = needed


class PasscodeNotSet(ChargepinError):
    code = "passcode_not_set"


class PasscodeNeeded(ChargepinError):
    code = "passcode_needed"


class PasscodeWrong(ChargepinError):
    """tries_left: None where the charger does not tell, as real ones do not."""

    code = "passcode_wrong"

    def __init__(
        self, message: str, *, tries_left: int | None, retry_after_s: float | None = 0.0
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.tries_left = tries_left


class Paused(ChargepinError):
    code = "paused"


class Exhausted(ChargepinError):
    code = "exhausted"


class BondUnknown(ChargepinError):
    code = "bond_unknown"


class ChangedElsewhere(ChargepinError):
    code = "changed_elsewhere"


class IdentityMismatch(ChargepinError):
    code = "identity_mismatch"


class RoleTooLow(ChargepinError):
    code = "role_too_low"


class ChargerRefused(ChargepinError):
    """The charger's own error: refusal is its code, a text (ours) or a number (stock)."""

    code = "charger_refused"

    def __init__(self, message: str, *, refusal: str | int) -> None:
        super().__init__(message)
        self.refusal = refusal


class Ignored(ChargepinError):
    """A write was answered as if it were done, and reading back shows that it was not.

    reads: the method whose answer showed it.
    """

    code = "ignored"

    def __init__(self, message: str, *, reads: str, may_have_happened: bool = False) -> None:
        super().__init__(message, may_have_happened=may_have_happened)
        self.reads = reads


class NotAnswered(ChargepinError):
    code = "not_answered"


class MakersAppNeeded(ChargepinError):
    code = "makers_app_needed"


class ProtocolError(ChargepinError):
    code = "protocol_error"


class VaultError(ChargepinError):
    code = "vault_error"


class AccountUnreachable(ChargepinError):
    code = "account_unreachable"


class AccountRefused(ChargepinError):
    """The account service's own error: refusal is its code."""

    code = "account_refused"

    def __init__(self, message: str, *, refusal: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.refusal = refusal


class Cancelled(ChargepinError):
    code = "cancelled"
