"""The phone's own pairing dialog: the window that a session opens, its codes, what became of it.

What the adapter asks and tells is taken at once, between two PDUs, so that no attempt meets a
window that has just served another one. Only what goes to the log waits in the inbox.
"""

from collections.abc import Callable, Mapping

from chargepin.charger.air import (
    Air,
    AirEvent,
    BluetoothBonded,
    LinkClosed,
    PairingBegun,
    PairingFailed,
)
from chargepin.core import pairing_window
from chargepin.core.guard_state import Entry
from chargepin.core.pairing_window import Draw, Why, Window


class PairingDialog:
    """At most one window at a time.

    may_open: whether a link's session still may have a window open. now_s: running seconds. say:
    sends an event to a link's session. log: takes an entry for the security log; no code in it.
    """

    def __init__(
        self,
        air: Air,
        draw: Draw,
        now_s: Callable[[], float],
        may_open: Callable[[int], bool],
        say: Callable[[int, str, Mapping[str, object]], None],
        log: Callable[[Entry], None],
    ) -> None:
        self._air = air
        self._draw = draw
        self._now_s = now_s
        self._may_open = may_open
        self._say = say
        self._log = log
        self._window: Window | None = None
        self._pairing: tuple[int, float] | None = None

    # ---- asked ----------------------------------------------------------------------------

    @property
    def taken(self) -> bool:
        """Whether there is a window, if only for the attempt that is under way."""
        return self._window is not None

    @property
    def is_open(self) -> bool:
        """Whether a phone may begin to pair."""
        window = self._window
        return window is not None and window.takes(self._now_s()) and self._may_open(window.opener)

    @property
    def closes_s(self) -> float | None:
        """When the window closes by itself."""
        return self._window.ends_s if self._window else None

    @property
    def phone_name(self) -> str:
        """What the phone that pairs shall be called; empty if nobody said."""
        return self._window.name if self._window else ""

    def pairing_s(self, link: int) -> float | None:
        """When this link last got as far as a person, if it was the last one to do so."""
        return self._pairing[1] if self._pairing and self._pairing[0] == link else None

    def use(self, link: int) -> int | None:
        """Use the shown code up; None if no attempt may begin any more."""
        window = self._window if self.is_open else None
        used = window and pairing_window.use(window, self._now_s(), self._draw)
        if not used:
            return None
        code, self._window = used
        self._pairing = (link, self._now_s())
        return code

    # ---- told -----------------------------------------------------------------------------

    def open(self, opener: int, name: str) -> None:
        """Open a window for a session, and show it the first code."""
        self._window = pairing_window.opened(opener, self._now_s(), self._draw, name)
        self._show(self._window)

    def close(self, why: Why) -> None:
        """Close the window, if one is open: what is under way in it fails."""
        window, self._window = self._window, None
        if window is None:
            return
        self._air.end_pairing()
        self._say(window.opener, "pairing_closed", {"why": why.value})
        detail: dict[str, str | int] = {"why": why.value, "attempts": window.used}
        self._log(Entry("pairing_window_closed", detail))

    def look(self) -> None:
        """Close the window when its time or its attempts are over, or its session is."""
        window = self._window
        if window is None:
            return
        why = pairing_window.due(window, self._now_s())
        if not self._may_open(window.opener):
            why = Why.SESSION_ENDED
        if why is not None:
            self.close(why)

    def heard(self, event: AirEvent) -> None:
        """Take what happened on the air."""
        match event:
            case PairingBegun(link):
                self._pairing = (link, self._now_s())
            case PairingFailed(_, address):
                self._log(Entry("pairing_failed", {"address": address}))
                self._failed()
            case BluetoothBonded(_, phone) if phone is not None:
                if self._window is not None:
                    members = {"bond": phone.bond_id, "name": phone.name}
                    self._say(self._window.opener, "pairing_done", members)
                self.close(Why.PAIRED)
            case LinkClosed(link):
                if self._window is not None and self._window.opener == link:
                    self.close(Why.SESSION_ENDED)
            case _:
                pass

    def _failed(self) -> None:
        if self._window is None:
            return
        self._window = pairing_window.failed(self._window)
        why = pairing_window.due(self._window, self._now_s())
        if why is not None:
            self.close(why)
        else:
            self._show(self._window)

    def _show(self, window: Window) -> None:
        members = {
            "code": window.code_text,
            "seconds_left": window.seconds_left(self._now_s()),
            "attempts_left": window.attempts_left,
        }
        self._say(window.opener, "pairing_code", members)
