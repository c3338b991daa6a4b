"""`chargepin serve charger --imitate`, where it is refused. Where it runs: tests/docs."""

from io import StringIO
from pathlib import Path

import pytest

from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal

USAGE, NOT_DONE = 2, 1


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--imitate", "6.11.26", "--software", "6.11.26"), USAGE, "leave --software out"),
        (("--imitate", "6.11.26", "--profile", "eu"), USAGE, "insecure on purpose"),
        (("--command-mode",), USAGE, "--command-mode is for --imitate"),
        (("--imitate", "6.13", "--command-mode"), NOT_DONE, "ublox module has no command shell"),
        (("--imitate", "6.11.26", "--links", "2"), USAGE, "says how many links"),
        (("--imitate", "6.7.17"), NOT_DONE, "6.7.17 is not imitated; 375, 6.1.12"),
        (("--imitate", "6.11.26", "--radio", "usb:0"), NOT_DONE, "on a virtual radio only"),
        (("--imitate", "6.11.26", "--radio", "hci-socket:0"), NOT_DONE, "on a virtual radio only"),
        (("--imitate", "375", "--factory-passcode-file", "f"), NOT_DONE, "375 knows no passcode"),
        (("--imitate", "6.13", "--factory-passcode-file", "f"), NOT_DONE, "no such file"),
    ],
)
def test_what_is_refused(tmp_path: Path, more: tuple[str, ...], code: int, said: str) -> None:
    terminal = Terminal(StringIO(), StringIO(), StringIO())
    data = tmp_path / "charger"
    radio = () if "--radio" in more else ("--radio", "tcp:127.0.0.1:1")
    arguments = ["serve", "charger", "--serial", "1", "--data", str(data), *radio, *more]
    assert run(arguments, terminal) == code
    stderr, stdout = terminal.stderr, terminal.stdout
    assert isinstance(stderr, StringIO)
    assert isinstance(stdout, StringIO)
    assert said.lower() in " ".join(stderr.getvalue().lower().split())
    assert stdout.getvalue() == ""
    assert not data.exists()


def test_a_file_that_holds_no_passcode_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe")
    said = StringIO()
    more = ("--imitate", "6.13", "--factory-passcode-file", str(tmp_path / "f"))
    arguments = ["serve", "charger", "--serial", "1", "--data", str(tmp_path / "charger"), *more]
    assert (
        run([*arguments, "--radio", "tcp:127.0.0.1:1"], Terminal(StringIO(), StringIO(), said)) == 1
    )
    assert "only the digits" in said.getvalue()
