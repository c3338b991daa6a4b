"""The phone's own pairing dialog: the window that a session opens, its codes, what became of it.

The window outlives that session's link, for one attempt with the code that was shown last. What
the adapter asks and tells is taken at once, between two PDUs, so that no attempt meets a window
that has just served another one. Only what goes to the log waits in the inbox.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chargepin.charger.air import (
    Air,
    AirEvent,
    BluetoothBonded,
    BluetoothPhone,
    LinkClosed,
    PairingBegun,
    PairingFailed,
)
from chargepin.core import pairing_window
from chargepin.core.bonds import Bond, Role, by_id
from chargepin.core.guard_state import Entry, Guard, Phase
from chargepin.core.pairing_window import ATTEMPTS_MAX, WINDOW_S, Draw, Why, Window


@dataclass(frozen=True, slots=True)
class Last:
    """The newest window, if there was any; why it closed, and the phone that paired in it."""

    window: Window | None = None
    why: Why | None = None
    phone: BluetoothPhone | None = None


class PairingDialog:
    """At most one window at a time.

    guard: the state as it is now. now_s: running seconds. say: sends an event to a link's session.
    log: takes an entry for the security log; no code in it. stays: whether the radio is made
    for a phone beside who opens the window.
    """

    def __init__(
        self,
        air: Air,
        draw: Draw,
        now_s: Callable[[], float],
        guard: Callable[[], Guard],
        say: Callable[[int, str, Mapping[str, object]], None],
        log: Callable[[Entry], None],
        *,
        stays: bool = True,
    ) -> None:
        self._air = air
        self._draw = draw
        self._now_s = now_s
        self._guard = guard
        self._say = say
        self._log = log
        self._stays = stays
        self._window: Window | None = None
        self._pairing: tuple[int, float] | None = None
        self._last = Last()

    # ---- asked ----------------------------------------------------------------------------

    @property
    def terms(self) -> Mapping[str, object]:
        """What a window will be, for who opens it."""
        stays = self._stays and not self._air.full
        return {"seconds": int(WINDOW_S), "attempts": ATTEMPTS_MAX, "stays": stays}

    @property
    def watched(self) -> bool:
        """Whether somebody is shown the codes of a window."""
        return self._window is not None and self._window.opener is not None

    @property
    def is_open(self) -> bool:
        """Whether a phone may begin to pair."""
        window = self._window
        return window is not None and window.takes(self._now_s()) and self._allowed(window)

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

    def last(self, bond: Bond | None) -> Mapping[str, object]:
        """What is or was with the newest window since the start, told to who has this bond."""
        last = Last(self._window) if self._window is not None else self._last
        window, phone = last.window, last.phone
        return {
            "open": self._window is not None,
            "yours": window is not None and bond is not None and bond.bond_id == window.bond,
            "seconds_left": self._window.seconds_left(self._now_s()) if self._window else 0,
            "attempts": window.used if window is not None else 0,
            "why": last.why.value if last.why else None,
            "bond": phone.bond_id if phone else None,
            "name": phone.name if phone else None,
        }

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
        held = self._guard().links.get(opener)
        bond = held.bond.bond_id if held and held.bond else None
        self._window = pairing_window.opened(opener, self._now_s(), self._draw, name, bond)
        if opener in self._air.links:
            self._show(self._window)
        else:  # it left before it was shown anything
            self._left(self._window, shown=False)

    def end(self, why: Why, phone: BluetoothPhone | None = None) -> Entry | None:
        """Close the window, if one is open: what is under way in it fails. Gives what to log.

        phone: the one that has paired.
        """
        window, self._window = self._window, None
        if window is None:
            return None
        self._last = Last(window, why, phone)
        self._air.end_pairing()
        self._tell(window, "pairing_closed", {"why": why.value})
        return Entry("pairing_window_closed", {"why": why.value, "attempts": window.used})

    def close(self, why: Why, phone: BluetoothPhone | None = None) -> None:
        """Close the window, if one is open, and have it logged."""
        entry = self.end(why, phone)
        if entry is not None:
            self._log(entry)

    def look(self) -> None:
        """Close the window when its time or its attempts are over, or its opener is forgotten."""
        window = self._window
        if window is None:
            return
        why = pairing_window.due(window, self._now_s())
        if not self._allowed(window):
            why = Why.FORGOTTEN
        if why is not None:
            self.close(why)

    def heard(self, event: AirEvent) -> None:
        """Take what happened on the air."""
        window = self._window
        match event:
            case PairingBegun(link):
                self._pairing = (link, self._now_s())
            case PairingFailed(_, address):
                self._log(Entry("pairing_failed", {"address": address}))
                if window is not None:
                    self._failed(window)
            case BluetoothBonded(_, phone) if phone is not None:
                if window is not None:
                    members = {"bond": phone.bond_id, "name": phone.name}
                    self._tell(window, "pairing_done", members)
                self.close(Why.PAIRED, phone)
            case LinkClosed(link, _, heard_all):
                if window is not None and window.opener == link:
                    self._left(window, shown=heard_all)
            case _:
                pass

    # ---- inside ---------------------------------------------------------------------------

    def _allowed(self, window: Window) -> bool:
        """Whether who opened it still may: its session, then its bond, if it has one."""
        guard = self._guard()
        held = guard.links.get(window.opener) if window.opener is not None else None
        if held is not None and held.phase is Phase.GRANTED:
            return held.role >= Role.ADMIN
        if window.bond is None:
            return True
        bond = by_id(guard.durable.bonds, window.bond)
        return bond is not None and bond.role >= Role.ADMIN

    def _left(self, window: Window, *, shown: bool) -> None:
        self._window = pairing_window.left(window, shown=shown)
        self.look()

    def _failed(self, window: Window) -> None:
        self._window = window = pairing_window.failed(window)
        why = pairing_window.due(window, self._now_s())
        if why is not None:
            self.close(why)
        else:
            self._show(window)

    def _show(self, window: Window) -> None:
        members = {
            "code": window.code_text,
            "seconds_left": window.seconds_left(self._now_s()),
            "attempts_left": window.attempts_left,
        }
        self._tell(window, "pairing_code", members)

    def _tell(self, window: Window, event: str, members: Mapping[str, object]) -> None:
        if window.opener is not None:
            self._say(window.opener, event, members)
