"""What is exported for ESPHome: well-formed, complete, and without a secret."""

import re
from typing import Any

import pytest
import typer

from chargepin.cli.export import CLIENT, SECRET, Kind, _plain, configuration

LINE = re.compile(r"(?P<indent> *)(?P<dash>- )?(?:(?P<name>[a-z0-9_.]+):)?(?: ?(?P<value>\S.*))?")


def read(text: str) -> Any:
    """Read the part of YAML that is used here: mappings, lists, one-line values, comments."""
    lines = []
    for raw in text.splitlines():
        line = re.sub(r"(^| +)#.*", "", raw).rstrip()
        if line:
            assert "\t" not in line
            found = LINE.fullmatch(line)
            assert found is not None, line
            assert len(found["indent"]) % 2 == 0, line
            lines.append(line)
    value, rest = block(lines, 0)
    assert not rest
    return value


def block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    """One mapping or list at this depth, and the lines after it."""
    if not lines or depth(lines[0]) < indent:
        return None, lines
    indent = depth(lines[0])
    if lines[0].lstrip().startswith("- "):
        rows: list[Any] = []
        while lines and depth(lines[0]) == indent and lines[0].lstrip().startswith("- "):
            lines = [lines[0].replace("- ", "  ", 1), *lines[1:]]
            row, lines = block(lines, indent + 2)
            rows.append(row)
        return rows, lines
    members: dict[str, Any] = {}
    while lines and depth(lines[0]) == indent:
        name, _, value = lines[0].strip().partition(":")
        assert name not in members
        if value.strip():
            members[name], lines = value.strip(), lines[1:]
        else:
            deeper = lines[1:]
            members[name], lines = block(deeper, indent + 2)
    assert not lines or depth(lines[0]) < indent, lines[0]
    return members, lines


def depth(line: str) -> int:
    return len(line) - len(line.lstrip())


@pytest.mark.parametrize("kind", Kind)
def test_the_proxy_can_type_and_never_connects_by_itself(kind: Kind) -> None:
    text = configuration("WB123456", "54:64:DE:01:02:03", kind)
    assert max(len(line) for line in text.splitlines()) <= 100
    made = read(text)
    assert made["esp32_ble"] == {
        "io_capability": "keyboard_only",
        "auth_req_mode": "bond_mitm",
        "max_connections": "4",
    }
    assert made["bluetooth_proxy"] == {"active": "true"}
    assert made["esp32_ble_tracker"] is None
    (client,) = made["ble_client"]
    assert client["id"] == CLIENT
    assert client["mac_address"] == '"54:64:DE:01:02:03"'
    assert client["auto_connect"] == "false"
    assert "ESPHome 2024." in text


def test_the_makers_charger_gets_its_passcode_by_a_reference() -> None:
    text = configuration("WB123456", "54:64:DE:01:02:03", Kind.MAKERS)
    (client,) = read(text)["ble_client"]
    (step,) = client["on_passkey_request"]["then"]
    assert step["ble_client.passkey_reply"] == {"id": CLIENT, "passkey": f"!secret {SECRET}"}
    assert "api" not in read(text)


def test_our_charger_gets_a_one_time_code_and_never_its_passcode() -> None:
    text = configuration("WB123456", "F0:01:02:03:04:05", Kind.OURS)
    made = read(text)
    assert "!secret" not in text
    (client,) = made["ble_client"]
    (step,) = client["on_passkey_request"]["then"]
    assert step.keys() == {"logger.log"}
    (action,) = made["api"]["actions"]
    assert action["variables"] == {"code": "int"}
    (reply,) = action["then"]
    assert reply["ble_client.passkey_reply"]["passkey"] == '!lambda "return code;"'
    assert "pairing open WB123456" in text


def test_addresses() -> None:
    assert _plain("54:64:de:01:02:03") == "54:64:DE:01:02:03"
    assert _plain("54:64:DE:01:02:03/P") == "54:64:DE:01:02:03"
    for wrong in ("", "54:64", "7D1C0F9E-0000-0000-0000-000000000000"):
        with pytest.raises(typer.BadParameter):
            _plain(wrong)
