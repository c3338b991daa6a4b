"""Imitated chargers, met by stock phones: each row of the table, and what all have in common."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bumble.smp import ErrorCode

from chargepin.charger.imitation import IMITATIONS, imitation_of
from chargepin.core import gatt
from chargepin.core.gatt import Layout
from charger.imitated import (
    Bench,
    bench,
    subscribing,
    switching,
    writing,
)

CODE, OTHER = "071828", "314159"
AUTHENTICATION, ENCRYPTION = 0x05, 0x0F


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


@dataclass(frozen=True)
class Row:
    """What is expected. cccd, mode, write: ATT errors on a link that never paired.

    asked: whether a phone with a keyboard types. untyped: what one without comes to, None paired.
    write_then: the ATT error that it gets for a write after that.
    """

    version: str
    passcode: str | None
    layout: Layout
    cccd: int | None
    mode: int | None
    write: int | None
    asked: bool = False
    untyped: int | None = None
    write_then: int | None = None


E, A = ENCRYPTION, AUTHENTICATION
REFUSED = int(ErrorCode.PAIRING_NOT_SUPPORTED)
ROWS = (
    Row("6.1.12", None, Layout.BGX, E, E, E),
    Row("6.1.12", CODE, Layout.BGX, E, E, E, asked=True),
    Row("6.7.38", None, Layout.BGX, E, E, E),
    Row("6.7.38", CODE, Layout.BGX, E, E, E),
    Row("6.11.16", None, Layout.UBLOX, None, None, None),
    Row("6.11.16", CODE, Layout.UBLOX, None, None, A, asked=True, write_then=A),
    Row("6.11.26", None, Layout.BGX, E, E, E),
    Row("6.11.26", CODE, Layout.BGX, A, A, A, asked=True, untyped=REFUSED, write_then=A),
    Row("6.13", None, Layout.UBLOX, E, None, E),
    Row("6.13", CODE, Layout.UBLOX, None, None, A, asked=True, write_then=A),
)


def named(row: Row) -> str:
    return f"{row.version} {'with' if row.passcode else 'without'} passcode"


@pytest.mark.parametrize("row", ROWS, ids=named)
async def test_what_a_phone_meets(on: Bench, row: Row) -> None:
    charger = await on.switch_on(row.version, row.passcode)
    assert charger.layout is row.layout
    async with on.phone() as phone:
        link = await phone.connected()
        uuids = {each.uuid for service in link.peer.services for each in service.characteristics}
        assert gatt.PASSCODE_HINT.uuid not in {str(uuid).lower() for uuid in uuids}
        assert await subscribing(link) == row.cccd
        if link.stock.mode is not None:
            assert await switching(link) == row.mode
        assert await writing(link) == row.write
        assert await link.pair(phone.typist, CODE) is None
        assert phone.typist.asked == row.asked
        assert await link.value("r_sn_") == "123456"
        await link.close()
        back = await phone.connected()
        if row.write is not None:
            assert await writing(back) in {row.write, ENCRYPTION}  # bonded: it is to encrypt
        await back.encrypt()
        assert await back.value("r_sn_") == "123456"
        await back.close()
    async with on.phone(keyboard=False) as phone:
        link = await phone.connected()
        assert await link.pair(phone.typist, CODE) == row.untyped
        assert await writing(link) == row.write_then


async def test_every_version_is_in_the_rows() -> None:
    assert {row.version for row in ROWS} | {"375"} == set(IMITATIONS)
    assert imitation_of("6.13.3").shown == "6.13.3"
