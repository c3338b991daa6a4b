"""What is between the controllers: who hears whom, how well, and who wins an advertisement."""

import asyncio
import random
import zlib

from chargepin.radio.parts import Advertising, Report, ReportType, Station

HEARD_FROM_DBM = -100
CONNECTS_FROM_DBM = -90  # between the two a charger is seen, but cannot be reached
HANDLES = 0x0EFF
_NEAR_DBM, _NEAR_SPREAD_DBM = -50, 11


class Air:
    """Carries advertisements to those who listen. Only then do they cost anything.

    seed: of the draws between several who want to connect to the same advertiser at once.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- repeatable on purpose, decides no secret
        # Dictionaries for their order: the draw must depend on nothing but the seed.
        self._advertisers: dict[Station, asyncio.Handle | None] = {}
        self._ears: dict[Station, None] = {}
        self._last_handle = 0
        self._signal_dbm: dict[frozenset[bytes], int] = {}

    def next_handle(self) -> int:
        """A connection handle, 1 to HANDLES, each in its turn for the whole room.

        What a host still sends to a link that has ended must not reach the next one, and
        readers of captures take the same handle at two adapters for the same link.
        """
        self._last_handle = self._last_handle % HANDLES + 1
        return self._last_handle

    def set_rssi(self, one: bytes, other: bytes, dbm: int) -> None:
        self._signal_dbm[frozenset((one, other))] = dbm

    def rssi(self, one: Station, other: Station) -> int:
        """Signal between two, in dBm: as set for any of their addresses, else -50 to -60."""
        for here in one.addresses():
            for there in other.addresses():
                if (dbm := self._signal_dbm.get(frozenset((here, there)))) is not None:
                    return dbm
        pair = sorted((one.addresses()[-1], other.addresses()[-1]))
        return _NEAR_DBM - zlib.crc32(b"".join(pair)) % _NEAR_SPREAD_DBM

    def advertising_changed(self, station: Station) -> None:
        """Somebody began, or ended, to advertise."""
        self._cancel(station)
        if station.advertising is None:
            self._advertisers.pop(station, None)
        else:
            self._advertisers[station] = None
            self._advertise_soon(station)

    def listening_changed(self, station: Station) -> None:
        """Somebody began, or ended, to scan or to wait for a connection.

        Everyone who advertises does so at once: nobody waits for the next interval.
        """
        if not station.listening:
            self._ears.pop(station, None)
            return
        self._ears[station] = None
        for advertiser in self._advertisers:
            self._advertise_soon(advertiser)

    def remove(self, station: Station) -> None:
        self._cancel(station)
        self._advertisers.pop(station, None)
        self._ears.pop(station, None)

    def _cancel(self, station: Station) -> None:
        if timer := self._advertisers.get(station):
            timer.cancel()

    def _advertise_soon(self, station: Station) -> None:
        if self._ears:
            self._cancel(station)
            loop = asyncio.get_running_loop()
            self._advertisers[station] = loop.call_soon(self._advertise, station)

    def _advertise(self, station: Station) -> None:
        """One advertising event; the next is set only while somebody listens."""
        self._advertisers[station] = None
        if (advertising := station.advertising) is None:
            return
        self._deliver(station, advertising)
        if station.advertising is advertising and self._ears:
            loop = asyncio.get_running_loop()
            self._advertisers[station] = loop.call_later(
                advertising.interval_s, self._advertise, station
            )

    def _deliver(self, advertiser: Station, advertising: Advertising) -> None:
        initiators = []
        for ear in list(self._ears):
            if ear is advertiser or not advertising.meant_for(ear.addresses()):
                continue
            dbm = self.rssi(ear, advertiser)
            if dbm < HEARD_FROM_DBM:
                continue
            ear.report(advertising.report(), dbm=dbm)
            if advertising.scannable and ear.asks_for_more(advertising):
                answer = Report(
                    ReportType.SCAN_RESPONSE, advertising.address, advertising.scan_response
                )
                ear.report(answer, dbm=dbm)
            if dbm >= CONNECTS_FROM_DBM and ear.would_connect(advertiser):
                initiators.append(ear)
        if initiators:
            self._random.choice(initiators).connect_to(advertiser)
