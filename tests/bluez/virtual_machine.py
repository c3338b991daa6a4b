"""A Linux computer in QEMU, without KVM; its Bluetooth adapter is on a virtual radio.

Or it has BlueZ's own emulated controllers: one of its own, and two for hosts outside.
"""

import base64
import json
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bluez.image import ROOT, Image, compiled, write_archive

MEMORY_MB: Final = 640
BOOTS_WITHIN_S: Final = 240.0
ENDS_WITHIN_S: Final = 15.0
KERNEL_OPTIONS: Final = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr clocksource=hpet random.trust_cpu=on"
    " no_timer_check"  # on a busy computer the timer looks broken at boot
)
_TESTS: Final = ROOT / "tests"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended in the guest. seconds: of the guest's clock."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """The one document that it printed."""
        return json.loads(self.out)


class VirtualMachine:
    """One guest. Everything that it leaves is in its directory: console.log and what is kept.

    radio: the virtual one, whose controllers it has; None for those that BlueZ emulates. joined:
    where hosts outside find a controller that is in the air with the guest's.
    """

    def __init__(self, image: Image, radio: str | None, directory: Path) -> None:
        self.image = image
        self._radio = radio
        self.directory = directory
        self.joined = (radio, radio) if radio else _free_endpoints()
        self.booted_s = 0.0
        self.kernel = ""
        self._number = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        _laid_over(self.image, self.directory / "initrd")
        with socket.create_server(("127.0.0.1", 0)) as waiting:
            begun = time.monotonic()
            with (self.directory / "qemu.log").open("wb") as log:
                self._qemu = subprocess.Popen(
                    self._command(waiting.getsockname()[1]),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            try:
                waiting.settimeout(BOOTS_WITHIN_S)
                self._control, _ = waiting.accept()
                self._control.settimeout(BOOTS_WITHIN_S)
                self._lines = self._control.makefile("rb")
                self.kernel = self._next()["kernel"]
                self.bluetooth_on()
            except BaseException:
                self._end()
                raise
        self.booted_s = time.monotonic() - begun
        (self.directory / "initrd").unlink()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._control.close()  # the guest switches itself off
        self._lines.close()
        self._end()

    def run(self, command: str, *, stdin: str = "", within_s: float = 120.0) -> Done:
        """Run a shell command in the guest and wait for its end."""
        return self._done({"command": command}, stdin, within_s)

    def python(
        self, module: str, *arguments: str, stdin: str = "", within_s: float = 120.0
    ) -> Done:
        """Run a module of ours in the guest as `python3 -m` does, only sooner."""
        return self._done({"module": module, "arguments": arguments}, stdin, within_s)

    def _done(self, what: dict[str, Any], stdin: str, within_s: float) -> Done:
        self._number += 1
        order = {"id": self._number, **what, "stdin": stdin, "within_s": within_s}
        self._control.settimeout(within_s + 30)  # its processor is slow, and may be busy
        self._control.sendall((json.dumps(order) + "\n").encode())
        while (done := self._next())["id"] != self._number:
            pass
        return Done(done["code"], done["out"], done["err"], done["seconds"])

    def bluetooth_on(self, adapter: str = "hci0") -> None:
        """Wait until BlueZ says that it has switched an adapter on. Raises RuntimeError."""
        address = f"$(hciconfig {adapter} | sed -n 's/.*BD Address: \\([^ ]*\\).*/\\1/p')"
        says = f"timeout 50 bluetoothctl show {address} | grep 'Powered: yes'"
        done = self.run(f"until {says}; do sleep 0.2; done")
        if done.code:
            raise RuntimeError(f"the guest's {adapter} is not on: {done}")

    def keep(self) -> None:
        """Take the guest's logs out, for whoever looks for the cause of a failure."""
        told = self.run("tail -c 4000000 /tmp/bluetoothd.log")
        (self.directory / "bluetoothd.log").write_text(told.out)
        (self.directory / "kernel.log").write_text(self.run("dmesg").out)
        if self._radio is None:  # else the radio has its own
            air = self.run("base64 /tmp/air.btsnoop").out
            (self.directory / "air.btsnoop").write_bytes(base64.b64decode(air))

    def _command(self, control: int) -> list[str]:
        first, second = map(self._line, self.joined)
        options = KERNEL_OPTIONS if self._radio else f"{KERNEL_OPTIONS} emulated"
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "1", "-m", str(MEMORY_MB), "-append", options),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.directory / "initrd")),
            *("-serial", f"file:{self.directory / 'console.log'}"),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=hci,{first}"),
            *("-device", "virtserialport,chardev=hci,name=hci,nr=1"),
            *("-chardev", f"socket,id=control,host=127.0.0.1,port={control}"),
            *("-device", "virtserialport,chardev=control,name=control,nr=2"),
            *("-chardev", f"socket,id=second,{second}"),
            *("-device", "virtserialport,chardev=second,name=second,nr=3"),
        ]

    def _line(self, endpoint: str) -> str:
        """What joins a port of the guest to a radio, or waits for a host outside."""
        host, _, port = endpoint.removeprefix("tcp:").rpartition(":")
        return f"host={host},port={port}{'' if self._radio else ',server=on,wait=off'}"

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            console = (self.directory / "console.log").read_text(errors="replace")
            raise RuntimeError(f"the guest is gone; its console ends with: {console[-2000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def _end(self) -> None:
        try:
            self._qemu.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._qemu.kill()
            self._qemu.wait()


def _free_endpoints() -> tuple[str, str]:
    """Two that no system hands out by itself: nobody takes them before QEMU is told of them."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < 2:
            port = 20_000 + secrets.randbelow(8_000)
            tried = held.enter_context(socket.socket())
            with suppress(OSError):
                tried.bind(("127.0.0.1", port))
                ports.append(port)
    return f"tcp:127.0.0.1:{ports[0]}", f"tcp:127.0.0.1:{ports[1]}"


def _laid_over(image: Image, place: Path) -> None:
    """The image's archives, and over them what is tested and what tests it."""
    root = place.with_suffix(".over")
    shutil.rmtree(root, ignore_errors=True)
    code = root / "opt/chargepin"
    no_code = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "src/chargepin", code / "chargepin", ignore=no_code)
    shutil.copytree(_TESTS / "bluez/guest", code / "bluez/guest", ignore=no_code)
    (code / "app").mkdir()
    shutil.copy(_TESTS / "app/link_conformance.py", code / "app")
    compiled(code, image.python)
    shutil.copy(_TESTS / "bluez/guest/init", root / "init")
    (root / "init").chmod(0o755)
    with place.open("wb") as whole:
        for archive in image.archives:
            with archive.open("rb") as each:
                shutil.copyfileobj(each, whole)
        write_archive(whole, root)
    shutil.rmtree(root)
