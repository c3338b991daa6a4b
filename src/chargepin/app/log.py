"""The charger's security log, from the app's side: read page by page, and not taken on trust.

A charger that was tampered with could leave out what is newest, or tell another story. So the app
keeps the head that it saw last, and the one of the newest receipt, and sees that they still hold.

A charger that found its log damaged says so in it and begins anew. Somebody who changed its memory
could say the same: so whoever saw more of the log is told, once; then the new one is what counts.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from chargepin.app.errors import ChargepinError, ProtocolError
from chargepin.app.ports import Known, Vault
from chargepin.app.session import Session
from chargepin.core import log_summary
from chargepin.core.log import EMPTY, Entry, Head, LogBroken

MOST_ENTRIES = 20_000
"""More than any charger keeps: one that goes on for ever is none."""

MOST_VIEWS = 1000


class SecurityLog(msgspec.Struct, frozen=True):
    """A log as it was read. entries: oldest first; up to begins they are evidence, with gaps.

    counting: what of strangers was counted since the last entry of it. finding: why the log can't
    be trusted, None if it holds. For a log that the charger has begun anew since this app last saw
    it, that is said once.
    """

    entries: tuple[Entry, ...]
    begins: Head
    head: Head
    counting: dict[str, int]
    finding: str | None = None


class _Page(msgspec.Struct, frozen=True):
    entries: list[Entry]
    head: Head
    begins: Head = EMPTY
    counting: dict[str, int] = {}


async def read(
    session: Session,
    serial: str,
    vault: Vault,
    after: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> SecurityLog:
    """Read the log from after a sequence on, and check it. Needs an admin.

    progress: called with percent. What was read whole and holds is remembered for the next time.
    Raises ProtocolError for answers that make no log.
    """
    known = vault.get(serial) or Known(serial)
    found, finding = await _checked(session, known, after, progress)
    if finding is not None:  # it may have been trimmed while it was read
        found, finding = await _checked(session, known, after, progress)
    if finding is None and after == 0:
        finding = _broken_off(found, known)
        head = (found.head.sequence, found.head.hash)
        vault.update(serial, lambda kept: msgspec.structs.replace(kept, log_head=head))
    return msgspec.structs.replace(found, finding=finding)


async def report_views(session: Session, serial: str, vault: Vault) -> None:
    """Tell the charger how often its passcode was shown here since it last heard of it."""
    known = vault.get(serial)
    if known is None or not known.viewed:
        return
    times = known.viewed
    with suppress(ChargepinError):  # it is told the next time
        await session.request("passcode.viewed", {"times": min(times, MOST_VIEWS)})
        vault.update(
            serial, lambda kept: msgspec.structs.replace(kept, viewed=max(0, kept.viewed - times))
        )


async def _checked(
    session: Session, known: Known, after: int, progress: Callable[[int], None]
) -> tuple[SecurityLog, str | None]:
    found = await _read(session, after, progress)
    try:
        if after == 0:
            _check_whole(found, known)
        else:
            log_summary.check_part(found.entries, after, found.begins, found.head)
    except LogBroken as broken:
        return found, _sentence(broken, found.entries)
    return found, None


def _check_whole(found: SecurityLog, known: Known) -> None:
    """See that it holds, and that nothing is missing of what was seen. Raises LogBroken."""
    checked = log_summary.check(found.entries)
    if checked.head != found.head or checked.summary.begins != found.begins:
        raise LogBroken(checked.head.sequence + 1, "the log ends elsewhere than it says")
    if known.log_head is not None and _newly_broken_off(found, known) is None:
        log_summary.confirm(checked, Head(*known.log_head))
    hashes = {entry.hash for entry in found.entries}
    whole = found.begins == EMPTY
    if whole and known.log_receipt not in {None, EMPTY.hash, *hashes}:
        raise LogBroken(checked.head.sequence + 1, "the entry that a receipt names is not there")


def _newly_broken_off(found: SecurityLog, known: Known) -> Entry | None:
    """The entry that begins the log anew, where the app has seen something of the log before it."""
    entry = log_summary.broken_off(found.entries)
    if entry is None:
        return None
    if known.log_head is not None:
        return entry if known.log_head[0] < entry.sequence else None
    hashes = {each.hash for each in found.entries}
    return None if known.log_receipt in {None, EMPTY.hash, *hashes} else entry


def _broken_off(found: SecurityLog, known: Known) -> str | None:
    entry = _newly_broken_off(found, known)
    if entry is None:
        return None
    return (
        f"The charger's security log was broken off: the charger says that it found it damaged"
        f" ({entry.detail.get('found')}) and began a new one with entry {entry.sequence}. What was"
        " written before can't be verified any more; the charger keeps it in its file"
        f" {entry.detail.get('kept_aside_as')}. A worn-out memory does that, and so does somebody"
        " who opened the charger. The new log is checked from now on."
    )


async def _read(session: Session, after: int, progress: Callable[[int], None]) -> SecurityLog:
    entries: list[Entry] = []
    while True:
        value = await session.request("log.read", {"after": after})
        try:
            page = msgspec.convert(value, _Page)
        except msgspec.ValidationError as error:
            raise ProtocolError("What the charger says of its log makes no log.") from error
        if not page.entries:
            break
        entries += page.entries
        if page.entries[-1].sequence <= after or len(entries) > MOST_ENTRIES:
            raise ProtocolError("The charger's log does not come to an end.")
        after = page.entries[-1].sequence
        progress(min(99, 100 * after // max(1, page.head.sequence)))
    progress(100)
    return SecurityLog(tuple(entries), page.begins, page.head, page.counting)


def _sentence(broken: LogBroken, entries: Sequence[Entry]) -> str:
    text = f"The charger's security log can't be trusted: {broken}."
    if entries and entries[0].event == "state_lost":
        return f"{text} It began anew when the charger found its memory damaged."
    return f"{text} Somebody may have opened the charger or changed its memory."
