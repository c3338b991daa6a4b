"""The app in Home Assistant, whose Bluetooth is a proxy's; see proxied for what was found of it."""

import sys
from pathlib import Path

import pytest
from bleak.backends.device import BLEDevice

import chargepin
from app.at_imitations import imitating
from app.proxied import PASSKEY_FAILED, RetryConnector, lent_bluetooth
from chargepin.app.errors import LinkLost, PasscodeNeeded
from chargepin.app.link_bleak.hosted import is_hosted
from charger.imitated import SERIAL as IMITATED
from ends import SERIAL, Answers, both_ends
from manual_loop import unwaited

NAME = f"WB{SERIAL}"
CODE = "482913"


@pytest.mark.parametrize(("module", "mtu"), [("zentri", 23), ("ublox", 247)])
async def test_a_passcode_session_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, mtu: int
) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on(radio_module=module)
        owner = await (await ends.phone()).enter()
        passcode = await owner.set_passcode()
        await owner.close()
        async with lent_bluetooth(ends.room.address, monkeypatch) as proxy:
            device = await proxy.hears(NAME)
            prompt = chargepin.GivenPasscode(passcode.passcode)
            home = tmp_path / "home"
            async with chargepin.connect(device, home=home, prompt=prompt) as charger:
                status = await charger.status()
                assert (status.passcode, status.role) == ("protected", "user")
                await charger.call("w_lck", 1)
                assert await charger.call("r_lck") == 1
            assert set(proxy.mtus) == {mtu}
            assert proxy.scans == 0
            async with chargepin.connect(device, home=home) as charger:
                assert await charger.call("r_sn_") == SERIAL


async def test_bleak_retry_connector_connects_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with lent_bluetooth(ends.room.address, monkeypatch) as proxy:
            monkeypatch.setitem(sys.modules, "bleak_retry_connector", RetryConnector)
            device = await proxy.hears(NAME)
            async with chargepin.connect(device, home=tmp_path / "home") as charger:
                assert await charger.call("r_sn_") == SERIAL
                assert proxy.retries[-1]
                await ends.switch_off()
                with pytest.raises(LinkLost):
                    await charger.call("r_sn_")


async def test_by_its_name_a_charger_is_found_through_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with lent_bluetooth(ends.room.address, monkeypatch) as proxy:
            assert [each.name for each in await chargepin.scan(0.1, home=tmp_path)] == [NAME]
            async with chargepin.connect(SERIAL, home=tmp_path / "home") as charger:
                assert await charger.call("r_sn_") == SERIAL
            assert proxy.scans


async def test_a_charger_that_wants_its_passcode_for_pairing_is_told_how_with_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        imitating(tmp_path, "6.11.26", CODE) as on,
        lent_bluetooth(on.room.address, monkeypatch) as proxy,
    ):
        device = await proxy.hears(f"WB{IMITATED}")
        prompt = Answers()
        connecting = chargepin.connect(device, home=tmp_path / "home", prompt=prompt)
        with pytest.raises(PasscodeNeeded, match=f"export esphome WB{IMITATED}") as told:
            await unwaited(connecting.__aenter__())
        assert PASSKEY_FAILED not in str(told.value)
        assert prompt.asked == 0


@pytest.mark.parametrize(
    ("details", "hosted"),
    [
        ({"source": "AA:BB:CC:DD:EE:FF"}, True),
        ({"path": "/org/bluez/hci0/dev_F0", "props": {}}, False),
        (object(), False),  # as on macOS and Windows
    ],
)
def test_whose_bluetooth_a_device_is_seen_by(details: object, *, hosted: bool) -> None:
    assert is_hosted(BLEDevice("F0:00:00:00:00:01", "WB1", details)) is hosted
    assert not is_hosted(None)
