"""A software update, from the request that starts it to the restart."""

import asyncio
from collections.abc import Callable, Mapping

from chargepin.charger.ports import UpdateProgress, Updates, UpdateState
from chargepin.core import bapi
from chargepin.core.catalogue import Version
from chargepin.core.guard_state import Entry

UNDER_WAY = "update"
"""What is kept from an update's first entry in the security log to its last: its version."""


def kept_with(entry: Entry) -> Mapping[str, bytes]:
    """What to keep in the same transaction as an entry."""
    match entry.event:
        case "update_started":
            return {UNDER_WAY: str(entry.detail["software"]).encode()}
        case "update_installed" | "update_failed":
            return {UNDER_WAY: b""}
        case _:
            return {}


def cut_off(under_way: bytes | None, runs: Version) -> tuple[Entry, ...]:
    """At a start, the last entry of an update that has none: the power went, or a restart came."""
    if not under_way:
        return ()
    if under_way == str(runs).encode():
        return (Entry("update_installed", {"software": str(runs)}),)
    return (Entry("update_failed", {"why": "The charger was switched off, or restarted."}),)


class Updating:
    """At most one update at a time.

    report tells the operator, log the security log; restart is called at its end.
    """

    def __init__(
        self,
        updates: Updates,
        report: Callable[[str], None],
        restart: Callable[[], None],
        log: Callable[[Entry], None],
    ) -> None:
        self._updates = updates
        self._report = report
        self._restart = restart
        self._log = log
        self._running: asyncio.Task[UpdateProgress] | None = None

    def begin(self, request_id: int, version: str | None) -> bytes:
        """Begin to install a version (None: the newest); gives the reply."""
        if self._running is not None and not self._running.done():
            return bapi.encode_error(request_id, "busy", "An update is already running.")
        try:
            wanted = Version.parse(version) if version is not None else None
        except ValueError:
            return bapi.encode_error(request_id, "bad_parameters", "That is no version.")
        chosen = wanted or self._updates.newest()
        if chosen is None:
            return bapi.encode_error(request_id, "no_update", "There is no newer software.")
        self._log(Entry("update_started", {"software": str(chosen)}))
        self._running = asyncio.create_task(self._updates.run(wanted, self._progressed))
        return bapi.encode_reply(request_id, 0)

    def cancel(self) -> None:
        """Break it off: the old software stays."""
        if self._running is not None:
            self._running.cancel()

    def _progressed(self, progress: UpdateProgress) -> None:
        if progress.state is UpdateState.INSTALLED:
            self._log(Entry("update_installed", {"software": str(self._updates.installed)}))
            self._report("The update is installed; the charger restarts.")
            self._restart()
        elif progress.state is UpdateState.FAILED:
            self._log(Entry("update_failed", {"why": progress.error or ""}))
            self._report(f"The update failed. {progress.error} The old software stays.")
