"""What doctor finds: each fault by its name, and what to do about it; never a secret."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.at_imitations import CODE, app_at, imitating
from chargepin.app.checkup import Finding, NoVault, look_at_charger, look_at_computer
from chargepin.app.checkup import computer as of_computer
from chargepin.app.checkup.charger import _signal
from chargepin.app.connect import holding
from chargepin.app.ports import Found, Known, Link, Radio, Vault
from chargepin.app.vault import open_vault
from ends import SERIAL, Answers, Ends, Phone, both_ends
from manual_loop import manual_loop


async def looked(phone: Phone, home: Path) -> dict[str, Finding]:
    findings = await look_at_charger(phone.surroundings, home, SERIAL)
    named = {finding.what: finding for finding in findings}
    assert len(named) == len(findings)
    assert all(finding.fine or finding.advice for finding in findings), findings
    return named


def bad(findings: dict[str, Finding]) -> list[str]:
    return [name for name, finding in findings.items() if not finding.fine]


async def protected(ends: Ends) -> tuple[Phone, str]:
    await ends.switch_on()
    owner = await ends.phone("owner's")
    active = await (await owner.enter()).set_passcode()
    await (await owner.enter()).close()
    return owner, active.passcode


async def test_nothing_is_wrong_for_the_owner(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        found = await looked(owner, tmp_path)
        assert bad(found) == []
        assert {"signal", "link", "services", "pairing", "software", "identity"} <= found.keys()
        assert "as owner" in found["way in"].text
        assert found["bond"].text == "The charger knows this app, as owner."
        assert "agrees" in found["charger's clock"].text
        assert code not in repr(found)


async def test_an_open_charger_is_told_as_a_fault_with_its_cure(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        found = await looked(await ends.phone(), tmp_path)
        assert bad(found) == ["passcode"]
        assert "anyone within ten metres" in found["passcode"].text
        assert found["passcode"].advice == "chargepin passcode set WB123456"


async def test_a_stranger_is_told_to_enter_and_it_costs_no_try(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await protected(ends)
        found = await looked(await ends.phone(), tmp_path)
        assert bad(found) == ["way in"]
        assert "passcode enter" in found["way in"].advice
        assert ends.daemon is not None
        assert ends.daemon.service.guard.durable.lockout.charged == 0


async def test_a_bond_that_the_charger_forgot(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        user = await ends.phone("user")
        await (await user.enter(Answers([code]))).close()
        inside = await owner.enter()
        (bond,) = [phone for phone in await inside.phones() if phone.name == "user"]
        await inside.forget_phone(bond.id)
        await inside.close()
        assert bad(await looked(user, tmp_path)) == ["bond"]


async def test_old_software_a_pause_and_a_downgrade(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await protected(ends)
        stranger = await ends.phone()
        for _ in range(3):
            with pytest.raises(Exception, match="not the passcode"):
                await stranger.enter(Answers(["482913"]))
        found = await looked(stranger, tmp_path)
        assert "end-pause" in found["tries"].advice
        await ends.switch_off()
        await ends.switch_on("6.7.10")
        found = await looked(stranger, tmp_path)
        assert found["software"].advice == "chargepin update WB123456"
        assert not found["software"].fine


async def test_another_charger_of_that_name(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "real") as ends:
        owner, _ = await protected(ends)
        await ends.switch_off()
        ends.directory = tmp_path / "imitation"
        await ends.switch_on()
        found = await looked(owner, tmp_path)
        assert "another charger" in found["identity"].text
        assert "way in" not in found


class Breaking:
    """A radio whose links break off at once."""

    def __init__(self, radio: Radio) -> None:
        self._radio = radio

    def __getattr__(self, name: str) -> Any:
        return getattr(self._radio, name)

    async def connect(self, found: Found, *, timeout_s: float) -> Link:
        link = await self._radio.connect(found, timeout_s=timeout_s)
        await link.close()
        return link


async def test_what_breaks_off_while_it_looks_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        radio: Any = Breaking(owner.surroundings.radio)
        owner.surroundings = replace(owner.surroundings, radio=radio)
        assert bad(await looked(owner, tmp_path)) == ["service"]
        await ends.room.close()
        assert bad(await looked(owner, tmp_path)) == ["found"]


async def test_who_holds_the_link_of_this_home(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        phone = await ends.phone()
        async with holding(tmp_path, phone.surroundings, await phone.enter()):
            found = await looked(phone, tmp_path)
        assert bad(found) == ["link"]
        assert found["link"].advice.startswith("chargepin pause WB123456")


async def test_a_charger_that_is_not_heard(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        phone = await ends.phone()
        looking = asyncio.ensure_future(looked(phone, tmp_path))
        for _ in range(200):
            await asyncio.sleep(0)
        manual_loop().advance(11)
        found = await looking
        assert bad(found) == ["found"]
        assert "another phone or gateway holds" in found["found"].text


async def test_without_a_vault_the_charger_is_looked_at_all_the_same(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        owner.surroundings = replace(owner.surroundings, vault=NoVault())
        found = await looked(owner, tmp_path)
        assert bad(found) == ["memory"]
        assert found["passcode"].text == "Protected by passcode number 1."
        assert {"signal", "link", "services", "pairing", "software", "tries"} <= found.keys()
        assert not {"identity", "bond", "way in"} & found.keys()


@pytest.mark.parametrize(
    ("dbm", "fine", "word"),
    [
        (-60, True, "good"),
        (-75, True, "good"),
        (-76, True, "usable"),
        (-85, True, "usable"),
        (-86, False, "weak"),
        (-95, False, "weak"),
        (-96, False, "too weak"),
        (127, True, "not tell"),
    ],
)
def test_signal_by_its_thresholds(dbm: int, *, fine: bool, word: str) -> None:
    finding = _signal(Found("F0:00:00:00:00:01", "WB123456", dbm))
    assert finding.fine is fine
    assert word in finding.text


async def test_a_charger_with_the_makers_software(tmp_path: Path) -> None:
    async with imitating(tmp_path, "6.7.38", CODE) as on, app_at(on) as app:
        findings = await look_at_charger(app.surroundings, tmp_path, SERIAL)
        named = {finding.what: finding for finding in findings}
        assert all(finding.fine for finding in findings), findings
        assert named["passcode"].text == "It has a passcode."
        assert named["software"].text == "Software 6.7.38."
        assert CODE not in repr(findings)


@pytest.mark.parametrize("version", ["375", "6.1.12"])
async def test_software_of_the_makers_that_is_old(version: str, tmp_path: Path) -> None:
    async with imitating(tmp_path, version) as on, app_at(on) as app:
        found = {
            each.what: each for each in await look_at_charger(app.surroundings, tmp_path, SERIAL)
        }
        too_old = version == "6.1.12"  # the other has a number that tells nothing
        assert f"Software {version}" in found["software"].text
        assert [name for name, each in found.items() if not each.fine] == ["software"] * too_old
        assert ("needs 6.7.17" in found["software"].text) is too_old


async def test_an_open_charger_of_ours_with_software_too_old_for_a_passcode(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on("6.7.10")
        found = await looked(await ends.phone(), tmp_path)
        assert bad(found) == ["software"]
        assert found["software"].advice == "chargepin update WB123456"


async def test_a_charger_of_the_maker_that_wants_pairing(tmp_path: Path) -> None:
    async with imitating(tmp_path, "6.11.26", CODE) as on, app_at(on) as app:
        findings = await look_at_charger(app.surroundings, tmp_path, SERIAL)
        assert findings[-1].what == "way in"
        assert "paired with its 6-digit passcode" in findings[-1].text


# ---- the computer ---------------------------------------------------------------------------


async def test_without_bluetooth_everything_else_is_still_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with look_at_computer(home, default_home=False, radio="tcp:127.0.0.1:1") as seen:
        findings, vault, radio = seen
        assert vault is not None
        assert radio is None
        assert [f.what for f in findings if not f.fine] == ["radio"]
        assert {"program", "home", "vault", "clock", "account"} <= {f.what for f in findings}
        assert list(vault.serials()) == []


async def test_a_damaged_vault_and_an_open_home_are_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    vault: Vault = open_vault(home, default_home=False)
    vault.put(Known(SERIAL))
    (home / "secrets.json").write_text("{")
    home.chmod(0o755)
    async with look_at_computer(home, default_home=False, radio="tcp:127.0.0.1:1") as seen:
        findings, opened, _ = seen
    assert [f.what for f in findings if not f.fine] == ["home", "vault", "radio"]
    assert all(finding.fine or finding.advice for finding in findings)
    assert opened is None
    assert "damaged" in msgspec.json.encode(findings).decode()


async def test_a_home_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    async with look_at_computer(home, default_home=False, radio="tcp:127.0.0.1:1") as (seen, *_):
        told = {each.what: each for each in seen}
    assert "cannot be used" in told["home"].text
    assert all(finding.fine or finding.advice for finding in seen)


async def faults_of(home: Path) -> list[str]:
    """What is wrong with a home, where no radio answers either."""
    async with look_at_computer(home, default_home=False, radio="tcp:127.0.0.1:1") as (seen, *_):
        assert all(finding.fine or finding.advice for finding in seen)
        return [each.what for each in seen if not each.fine]


@pytest.mark.parametrize("damage", ["damaged", "unreadable"])
async def test_a_sign_in_that_is_of_no_use_is_told(tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    if damage == "damaged":
        (home / "account.json").write_text("{")
    else:
        (home / "account.json").mkdir()
    assert await faults_of(home) == ["account", "radio"]


async def test_a_home_of_which_nothing_can_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    assert await faults_of(tmp_path / "file") == ["home", "vault", "radio"]
    too_long = tmp_path / ("h" * 300)  # the system looks at nothing in it, whoever asks
    assert await faults_of(too_long) == ["home", "vault", "account", "radio"]
    (tmp_path / "home" / "app.json").mkdir(parents=True, mode=0o700)
    assert await faults_of(tmp_path / "home") == ["home", "radio"]


def test_switches_that_block_bluetooth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (kind, soft, hard) in enumerate(
        [
            ("bluetooth", "0", "0"),
            ("bluetooth", "1", "0"),
            ("bluetooth", "0", "1"),
            ("wlan", "1", "1"),
        ]
    ):
        switch = tmp_path / f"rfkill{number}"
        switch.mkdir()
        for name, text in (("type", kind), ("soft", soft), ("hard", hard)):
            (switch / name).write_text(text + "\n")
    (tmp_path / "rfkill9").mkdir()  # nothing in it can be read
    monkeypatch.setattr(of_computer, "RFKILL", tmp_path)
    assert [finding.fine for finding in of_computer._blocked()] == [True, False, False]
    assert "rfkill unblock bluetooth" in [finding.advice for finding in of_computer._blocked()]
