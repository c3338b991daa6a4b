"""Imitated chargers, met by stock phones: each row of the table, and what all have in common."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bumble.core import TimeoutError as BumbleTimeout
from bumble.smp import ErrorCode

from bluetooth_phone import BluetoothLink, BluetoothPhone
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.imitation import IMITATIONS, Imitator, imitated_setup, imitation_of
from chargepin.charger.imitation.methods import ImitatedMethods, handlers
from chargepin.charger.imitation.program import NoUpdates
from chargepin.charger.ports import HardwareState
from chargepin.charger.stock import StockMethods, StockSettings
from chargepin.charger.store import SQLiteStore
from chargepin.core import gatt
from chargepin.core.bapi import METHODS, Refused, Request, decode_reply, method_of
from chargepin.core.gatt import Layout
from chargepin.core.passcode import Passcode
from charger.imitated import Bench, bench, subscribing, switching, writing
from charger.rig import PATIENCE_S
from manual_loop import manual_loop

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
            assert await writing(back) == ENCRYPTION  # it is bonded, and is to use its key
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


# ---- requests ------------------------------------------------------------------------------------


async def paired(on: Bench, phone: BluetoothPhone) -> BluetoothLink:
    link = await phone.connected()
    if on.charger is not None and on.charger.layout is not Layout.ZENTRI:
        assert await link.pair(phone.typist, CODE) is None
    return link


@pytest.mark.parametrize("name", IMITATIONS)
@pytest.mark.parametrize("code", [None, CODE], ids=["without", "with"])
async def test_read_pin_and_set_pin(on: Bench, name: str, code: str | None) -> None:
    if code and name == "375":
        with pytest.raises(ValueError, match="375 knows no passcode"):
            await on.switch_on(name, code)
        return
    await on.switch_on(name, code)
    async with on.phone() as phone:
        link = await paired(on, phone)
        error = {"375": 4, "6.1.12": 1}.get(name)
        right, wrong = {"pin": CODE, "version": 3}, {"pin": OTHER, "version": 3}
        if error is not None:
            assert await link.refusal("read_pin") == error
            assert await link.refusal("set_pin", right) == error
            return
        assert await link.value("read_pin") == {"pin": code or "", "version": 3}
        for par in (wrong, {"pin": int(CODE)}, {}, None, [CODE], {"pin": ""}):
            assert await link.refusal("set_pin", par) == 2
        if code:
            assert await link.value("set_pin", right) is None
        assert await link.value("read_pin") == {"pin": code or "", "version": 3}


@pytest.mark.parametrize("version", ["6.7.38", "6.11.26"])
async def test_writes_before_and_after_set_pin(on: Bench, version: str) -> None:
    await on.switch_on(version, CODE)
    async with on.phone() as phone:
        link = await paired(on, phone)
        for wanted in (1, 0, 1):
            assert await link.value("w_lck", wanted) is None
            assert await link.value("r_lck") == (0 if version == "6.7.38" else wanted)
        await link.refusal("set_pin", {"pin": OTHER, "version": 3})
        await link.value("s_alo", 60)
        assert await link.value("g_alo") == (0 if version == "6.7.38" else 60)
        await link.value("set_pin", {"pin": CODE, "version": 3})
        await link.value("w_lck", 1)
        assert await link.value("r_lck") == 1
        await link.close()
        back = await phone.connected()
        await back.encrypt()
        await back.value("w_lck", 0)
        assert await back.value("r_lck") == (1 if version == "6.7.38" else 0)


async def test_methods_that_are_not_there_are_no_writes_to_ignore(on: Bench) -> None:
    await on.switch_on("6.7.38", CODE)
    async with on.phone() as phone:
        link = await paired(on, phone)
        for method in ("r_gcd", "s_sch", "clr_sch", "s_hup", "w_power_boost", "anything"):
            assert await link.refusal(method) == 1
        assert await link.value("w_sch", "0006000700002") is None
        assert await link.value("r_schs") == {"schedules": []}


async def test_without_a_passcode_6_7_38_takes_every_write(on: Bench) -> None:
    await on.switch_on("6.7.38")
    async with on.phone() as phone:
        link = await paired(on, phone)
        await link.value("w_lck", 1)
        assert await link.value("r_lck") == 1
        assert await link.refusal("s_sch", {"schedules": []}) == 1
        assert await link.refusal("supds") == 5  # it stays what it is


async def test_6_1_12_takes_every_w_cha_as_a_toggle(on: Bench) -> None:
    charger = await on.switch_on("6.1.12")
    charger._plug()
    async with on.phone() as phone:
        link = await paired(on, phone)
        states = []
        for wanted in (1, 1, 0, 0):
            assert await link.value("w_cha", wanted) is None
            states.append(await status(link))
        assert states == [4, 1, 4, 1]  # it charged when the first one came


async def test_6_1_12_may_charge_with_more(on: Bench) -> None:
    charger = await on.switch_on("6.1.12")
    charger._plug()
    async with on.phone() as phone:
        link = await paired(on, phone)
        assert await link.value("r_fsI") == 40
        assert await link.refusal("w_mxI", 41) == 2
        await link.value("w_mxI", 40)
        told = await link.value("r_dat")
        assert isinstance(told, dict)
        assert (told["cur"], told["L1"]) == (40, 400)


async def test_eco_smart_goes_off_in_two_steps(on: Bench) -> None:
    await on.switch_on("6.13")
    async with on.phone() as phone:
        link = await paired(on, phone)
        sun, mixed, off = ({"ese": a, "esm": b, "esp": 100} for a, b in ((1, 1), (1, 0), (0, 0)))
        for written, read in ((sun, sun), (off, sun), (mixed, mixed), (off, off)):
            assert await link.value("s_ecos", written) == 0
            assert await link.value("g_ecos") == read
        assert await link.refusal("s_ecos", {"ese": 0}) == 2


async def test_schedules_with_times_as_text_are_lost(on: Bench) -> None:
    await on.switch_on("6.11.16")
    entry: dict[str, object] = {"sid": 1, "start": 2330, "stop": 605, "days": [1] * 7}
    async with on.phone() as phone:
        link = await paired(on, phone)
        for times in ({"start": "2330"}, {"stop": "0605"}):
            assert await link.value("s_sch", {"schedules": [entry, entry | times]}) == 0
        assert await link.value("r_schs") == []
        for entries in ([{"sid": 1}], [1], 1, None):
            assert await link.refusal("s_sch", {"schedules": entries}) == 2
        assert await link.refusal("s_sch", []) == 2
        assert await link.value("s_sch", {"schedules": [entry]}) == 0
        (kept,) = await listed(link)
        assert (kept["start"], kept["stop"]) == ("2330", "0605")


async def listed(link: BluetoothLink) -> list[Any]:
    schedules = await link.value("r_schs")
    assert isinstance(schedules, list)
    return schedules


async def test_the_back_office_is_told_with_its_password(on: Bench) -> None:
    await on.switch_on("6.13")
    there = {"u": "wss://example.org/ocpp", "chid": "WB123456", "pw": "secret", "e": 1}
    async with on.phone() as phone:
        link = await paired(on, phone)
        assert await link.value("s_ocpp", there) == 0
        assert await link.value("g_ocpp") == there
    assert not [line for line in on.said if "secret" in line]


async def status(link: BluetoothLink) -> object:
    value = await link.value("r_dat")
    assert isinstance(value, dict)
    return value["st"]


@pytest.mark.parametrize("name", [*IMITATIONS, "6.7.41", "6.13.3"])
async def test_what_it_says_of_itself(on: Bench, name: str) -> None:
    await on.switch_on(name)
    async with on.phone() as phone:
        link = await paired(on, phone)
        shown = {"6.13": "6.13.6"}.get(name, name)
        versions = await link.value("fw_v_")
        assert isinstance(versions, dict)
        assert (versions["s"], versions["p"]) == (shown, imitation_of(name).project_code)


async def test_wrong_parameters_are_refused_in_the_two_words_of_real_ones(on: Bench) -> None:
    await on.switch_on("6.11.16")
    async with on.phone() as phone:
        link = await paired(on, phone)
        reply = await link.ask("s_alo", {"enabled": 1, "time": 60})
        assert reply.error is not None
        assert reply.error.message == "Unexpected Error"
        unknown = await link.ask("s_hup")
        assert unknown.error is not None
        assert unknown.error.message == "No dispatch method found"


@pytest.mark.parametrize("name", IMITATIONS)
async def test_networks_have_the_form_that_is_known(on: Bench, name: str) -> None:
    await on.switch_on(name)
    async with on.phone() as phone:
        link = await paired(on, phone)
        if name == "375":
            assert await link.refusal("gnsta") == 4
            return
        macs, networks = await link.value("g_mac"), await link.value("gnsta")
        assert isinstance(macs, dict)
        assert isinstance(networks, list)
        assert networks[0]["mac"] == macs["wlan_mac"]
        parts = "ssid ip gateway netmask dns1 dns2 mac channel signal type"
        assert list(networks[0]) == parts.split()
        assert await link.value("gwsta") == 1


NONSENSE: Sequence[object] = [
    None, True, -1, 1, 2, 3.7, 2**40, "", "x" * 50, "\0", [], [1], [[[]]], {}, {"pin": None},
    {"schedules": [None]}, {"schedules": [{"start": ""}]}, {"sid": "1"}, {"ese": 0},
]  # fmt: skip


@pytest.mark.parametrize("name", IMITATIONS)
@pytest.mark.parametrize("code", [None, Passcode(CODE)], ids=["without", "with"])
def test_whatever_is_asked_is_answered(tmp_path: Path, name: str, code: Passcode | None) -> None:
    setup = imitated_setup(version=name, serial="123456", directory=tmp_path)
    hardware = SimulatedHardware(setup.plate.family, HardwareState(), 0.0)
    updates, own = NoUpdates(setup.plate.software), handlers(setup.imitation, setup.plate)
    settings = StockSettings()
    stock = StockMethods(setup.plate, hardware, updates, settings, instead=own, bare=True)
    methods = ImitatedMethods(setup.imitation, code, stock)
    for method in (*METHODS, "nobody_knows"):
        for par in NONSENSE:
            raw, _ = methods.answer(1, Request(method, par, 7), 10.0, 0)
            reply = decode_reply(raw)
            assert reply.id == 7
            if method_of(method).in_records_only or method == "nobody_knows":
                assert reply.error == Refused(1, "No dispatch method found")


# ---- command mode --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["375", "6.1.12"])
async def test_a_module_that_begins_in_its_shell(on: Bench, version: str) -> None:
    await on.switch_on(version, command_mode=True)
    async with on.phone() as phone:
        for _ in range(2):  # on every link anew
            link = await paired(on, phone)
            heard = asyncio.Queue[bytes]()
            await link.characteristic(link.stock.notify.uuid).subscribe(heard.put_nowait)
            assert link.stock.mode is not None
            assert await link.characteristic(link.stock.mode.uuid).read_value() == b"\x03"
            assert await writing(link) is None
            assert await heard.get() == b"ERR\r\n"
            assert await switching(link) is None
            assert await link.value("r_sn_") == "123456"
            await link.close()


def test_only_modules_with_a_shell_begin_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a ublox module has no command shell"):
        imitated_setup(version="6.13", serial="1", directory=tmp_path, command_mode=True)


# ---- the original Pulsar -------------------------------------------------------------------------


async def test_375_works_unpaired_and_its_link_dies_of_pairing(on: Bench) -> None:
    charger = await on.switch_on("375")
    async with on.phone() as phone:
        link = await phone.connected()
        assert await link.peer.request_mtu(247) == 23
        assert (await subscribing(link), await switching(link), await writing(link)) == (None,) * 3
        await link.value("suser", 1)
        assert await link.refusal("w_cha", 2) == 5
        assert await link.refusal("g_ecos") == 4
        assert await status(link) == 0

        pairing = asyncio.create_task(link.pair(phone.typist, CODE))
        async with asyncio.timeout(PATIENCE_S):
            while not charger._rules.dead:  # noqa: ASYNC110 - the charger tells nobody
                await asyncio.sleep(0)
        reading = asyncio.create_task(writing(link))
        await asyncio.sleep(0)
        manual_loop().advance(31)  # Bumble waits 30 s for an answer
        with pytest.raises(BumbleTimeout):
            await reading
        assert not pairing.done()
        await link.close()
        await asyncio.gather(pairing, return_exceptions=True)
        assert await status(await phone.connected()) == 0


# ---- the passcode, and bonds by it ---------------------------------------------------------------


async def test_a_wrong_passcode_does_not_pair_and_costs_nothing(on: Bench) -> None:
    await on.switch_on("6.11.26", CODE)
    async with on.phone() as phone:
        for _ in range(25):  # nobody counts
            link = await phone.connected()
            assert await link.pair(phone.typist, OTHER) == ErrorCode.CONFIRM_VALUE_FAILED
            await link.close()
        await phone.pair(CODE)
    assert not [line for line in on.said if CODE in line or OTHER in line]


async def test_bonds_outlast_a_restart_and_another_passcode_but_not_the_button(on: Bench) -> None:
    await on.switch_on("6.11.26", CODE)
    async with on.phone() as phone:
        await (await phone.pair(CODE)).close()
        await on.switch_off()
        charger = await on.switch_on("6.11.26", OTHER)
        back = await phone.connected()
        await back.encrypt()  # it does not notice
        assert await back.value("read_pin") == {"pin": OTHER, "version": 3}
        charger.reset()
        await back.hung_up()
        await phone.cannot_encrypt()
        async with on.phone() as newcomer:
            link = await newcomer.connected()
            assert await link.pair(newcomer.typist, CODE) == ErrorCode.CONFIRM_VALUE_FAILED
            assert await link.pair(newcomer.typist, OTHER) is None
            await link.close()
        assert await (await phone.pair(OTHER)).value("r_sn_") == "123456"


async def test_what_is_kept_is_kept_apart_from_a_charger_of_ours(on: Bench) -> None:
    await on.switch_on("6.11.26", CODE)
    async with on.phone() as phone:
        await phone.pair(CODE)
    await on.switch_off()
    imitated = SQLiteStore(on.directory / "charger" / "imitated")
    ours = SQLiteStore(on.directory / "charger")
    try:
        assert len(imitated.bluetooth_bonds()) == 1
        assert ours.bluetooth_bonds() == {}
        assert ours.identity.private_bytes_raw() != imitated.identity.private_bytes_raw()
    finally:
        imitated.close()
        ours.close()


# ---- where it runs -------------------------------------------------------------------------------


async def test_it_serves_one_phone_at_a_time(on: Bench) -> None:
    charger = await on.switch_on("6.11.16")

    def advertises() -> bool:
        return charger.air._on_air is not None and charger.air._on_air._wanted

    async with on.phone() as phone:
        link = await phone.connected()
        assert not advertises()
        over = asyncio.create_task(link.hung_up())
        await link.close()
        await over
        async with asyncio.timeout(PATIENCE_S):
            while not advertises():  # noqa: ASYNC110 - the charger tells nobody
                await asyncio.sleep(0)
        await (await phone.connected()).close()


async def test_it_reboots_when_asked(on: Bench) -> None:
    await on.switch_on("6.11.16")
    async with on.phone() as phone:
        link = await phone.connected()
        await link.value("rebot")
        over = asyncio.create_task(link.hung_up())
        manual_loop().advance(1)
        await over
        assert await status(await phone.connected()) == 0


@pytest.mark.parametrize(
    "radio", ["usb:0", "hci-socket:0", "serial:/dev/ttyACM0", "tcp-client:x:1"]
)
async def test_it_runs_on_no_real_adapter(tmp_path: Path, radio: str) -> None:
    setup = imitated_setup(version="6.11.26", serial="123456", directory=tmp_path / "charger")
    with pytest.raises(ValueError, match="virtual radio only"):
        await Imitator.start(setup, radio, print)
    assert not (tmp_path / "charger").exists()


async def test_it_runs_on_no_real_adapter_behind_a_socket(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Peripheral, "company", 0x0059)
    with pytest.raises(ValueError, match="virtual radio only"):
        await on.switch_on("6.11.26")
    monkeypatch.undo()
    await on.switch_on("6.11.26")


async def test_it_says_that_it_is_insecure(on: Bench) -> None:
    await on.switch_on("6.11.26", CODE)
    assert on.said[0].startswith("INSECURE: this charger imitates software 6.11.26")


async def told(directory: Path, word: str) -> str:
    reader, writer = await asyncio.open_unix_connection(directory / "button")
    writer.write(f"{word}\n".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_front_plugs_and_forgets(on: Bench) -> None:
    await on.switch_on("6.11.16")
    for word, answer in (
        ("plug", "done"),
        ("plug", "not done: A car is plugged in already."),
        ("unplug", "done"),
        ("unplug", "not done: No car is plugged in."),
        ("hold", "done"),
    ):
        assert await told(on.directory / "charger", word) == answer


def test_other_models_and_modules_can_be_imitated_too(tmp_path: Path) -> None:
    setup = imitated_setup(
        version="6.7.38",
        serial="WB123456",
        directory=tmp_path,
        model="copper-sb",
        radio_module="ublox",
    )
    assert (setup.plate.family.key, setup.plate.layout) == ("copper-sb", Layout.UBLOX)
    with pytest.raises(ValueError, match=r"6\.7\.17 is not imitated; 375, 6\.1\.12"):
        imitated_setup(version="6.7.17", serial="1", directory=tmp_path)
