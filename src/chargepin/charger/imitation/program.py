"""Wiring of an imitated charger: none of the guard, sessions, log or passcode service of ours."""

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chargepin.charger.air import (
    AirEvent,
    Appearance,
    BluetoothBonded,
    Door,
    LinkClosed,
    LinkOpened,
    PairingFailed,
    Written,
)
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.charger.button import Front
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.imitation.methods import ImitatedMethods, handlers
from chargepin.charger.imitation.rules import ImitatedRules, attributes_by, pairings_by
from chargepin.charger.imitation.versions import Imitation, imitation_of
from chargepin.charger.kept import StoredBonds, address_of
from chargepin.charger.ports import StoreFailed, UpdateProgress
from chargepin.charger.stock import (
    Action,
    StockMethods,
    TypePlate,
    kept_hardware,
    kept_settings,
)
from chargepin.charger.store import SQLiteStore
from chargepin.core import bapi
from chargepin.core.catalogue import Version, family_of, name_of, serial_of
from chargepin.core.gatt import Layout, Mode, layout_named
from chargepin.core.passcode import Passcode, entered
from chargepin.machine.clock import running_s, unix_s
from chargepin.machine.controller import Controller, ControllerError, open_controller

REBOOT_AFTER_S: Final = 0.5
_VIRTUAL: Final = "tcp:"
_NO_COMPANY: Final = 0xFFFF  # what virtual controllers say; every real one names its maker


@dataclass(frozen=True, slots=True)
class ImitatedSetup:
    """What an imitated charger is told when it is started.

    passcode: None where none is set. first_mode: in which its radio module begins.
    """

    plate: TypePlate
    directory: Path
    imitation: Imitation
    passcode: Passcode | None
    first_mode: Mode = Mode.STREAM


def imitated_setup(
    *,
    version: str,
    serial: str,
    directory: Path,
    model: str | None = None,
    radio_module: str | None = None,
    factory_passcode_file: Path | None = None,
    command_mode: bool = False,
) -> ImitatedSetup:
    """Read the options of `serve charger --imitate`. Raises ValueError or OSError with a sentence.

    model, radio_module: otherwise than they were seen with this software. command_mode: the module
    begins in its shell.
    """
    imitation = imitation_of(version)
    family = family_of(model or imitation.family)
    if model is None:
        family = dataclasses.replace(
            family,
            project_codes=(imitation.project_code,),
            max_current_a=imitation.max_current_a or family.max_current_a,
        )
    layout = imitation.layout if radio_module is None else layout_named(radio_module)
    if command_mode and layout.stock.mode is None:
        raise ValueError(f"a {layout.value} module has no command shell")
    first_mode = Mode.REMOTE_COMMAND if command_mode else Mode.STREAM
    passcode = None
    if factory_passcode_file is not None:
        if imitation.locked is None:
            raise ValueError(f"software {imitation.name} knows no passcode")
        passcode = entered(factory_passcode_file.read_text(encoding="utf-8", errors="replace"))
    plate = TypePlate(serial_of(serial), family, imitation.software, layout)
    return ImitatedSetup(plate, directory, imitation, passcode, first_mode)


def see_that_virtual(radio: str) -> None:
    """Raise ValueError with a sentence for what is no virtual radio by its name alone."""
    if not radio.startswith(_VIRTUAL):
        raise ValueError(_on_real_adapter(radio))


def _on_real_adapter(radio: str) -> str:
    return (
        f"{radio} is a real Bluetooth adapter, and an imitation is insecure on purpose: whoever is"
        " near could take the passcode and the charger. It runs on a virtual radio only"
        " (tcp:HOST:PORT, from `chargepin serve radio`)"
    )


class NoUpdates:
    """The `Updates` port of a charger that stays as it is."""

    def __init__(self, installed: Version) -> None:
        self.installed = installed
        self.progress = UpdateProgress()

    def newest(self) -> Version | None:
        return None

    def offers(self, version: Version) -> bool:
        _ = version
        return False

    async def run(
        self, version: Version | None, on_progress: Callable[[UpdateProgress], None]
    ) -> UpdateProgress:
        _ = version, on_progress
        return self.progress


class Imitator:
    """A running imitation. What it keeps is kept apart from what a charger of ours keeps."""

    def __init__(
        self,
        setup: ImitatedSetup,
        controller: Controller,
        store: SQLiteStore,
        report: Callable[[str], None],
    ) -> None:
        imitation, passcode = setup.imitation, setup.passcode
        self._setup = setup
        self._controller = controller
        self._store = store
        self._report = report
        self._rules = ImitatedRules(imitation, passcode, setup.first_mode)
        self.address: Final = address_of(store)
        self.air: Final = Peripheral(
            controller.transport,
            self.address,
            StoredBonds(store),
            unix_s=unix_s,
            attributes=attributes_by(self._rules),
            pairings=pairings_by(self._rules),
        )
        self._hardware = SimulatedHardware(
            setup.plate.family, kept_hardware(store), running_s(), unix_s()
        )
        self._stock = StockMethods(
            setup.plate,
            self._hardware,
            NoUpdates(setup.plate.software),
            kept_settings(store),
            instead=handlers(imitation, setup.plate),
            bare=True,
        )
        self._methods = ImitatedMethods(imitation, passcode, self._stock)
        self._frames: dict[int, bapi.RequestAssembler] = {}
        self._reboot = asyncio.Event()
        hands = {"hold": self.reset, "plug": self._plug, "unplug": self._unplug}
        dials: dict[str, Callable[[int], None]] = {
            "sun": lambda watts: self._hardware.shine(running_s(), watts),
            "house": lambda amperes: self._hardware.draw(running_s(), amperes),
        }
        self._front = Front(setup.directory / "button", hands, dials)

    @classmethod
    async def start(
        cls, setup: ImitatedSetup, radio: str, report: Callable[[str], None]
    ) -> "Imitator":
        """Open everything and go on the air. Raises ValueError or OSError with a sentence."""
        see_that_virtual(radio)
        report(
            f"INSECURE: this charger imitates software {setup.imitation.shown}, weaknesses and all,"
            " for tests of clients. Nothing of chargepin's protection is at work."
        )
        controller = None
        try:
            store = await asyncio.to_thread(SQLiteStore, setup.directory / "imitated")
        except StoreFailed as error:
            raise OSError(str(error)) from error
        try:
            controller = await open_controller(radio)
            imitator = cls(setup, controller, store, report)
            await imitator._switch_on()
            await imitator._front.open()
        except BaseException:
            store.close()
            if controller is not None:
                await controller.close()
            raise
        return imitator

    async def run(self) -> None:
        """Serve until cancelled. Raises ControllerError when the radio is gone."""
        while True:
            self._reboot.clear()
            rebooting = asyncio.ensure_future(self._reboot.wait())
            ends: list[asyncio.Future[Any]] = [rebooting, self.air.lost]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                rebooting.cancel()
            if self.air.lost.done():
                raise ControllerError(f"{self._controller.name}: the radio is gone")
            await self.air.stop()
            await self._switch_on()

    async def close(self) -> None:
        """Leave the air and close everything."""
        await self._front.close()
        await self.air.stop()
        self._keep(at_once=True)
        await self._controller.close()
        self._store.close()

    @property
    def listen(self) -> str:
        """Where it is found: the name it advertises."""
        return name_of(self._setup.plate.serial)

    @property
    def layout(self) -> Layout:
        """Its radio module."""
        return self._setup.plate.layout

    def reset(self) -> None:
        """Hold the button: every Bluetooth bond is forgotten here, and every link ends."""
        try:
            self.air.forget_bonds()
        except StoreFailed as error:
            raise ValueError(str(error)) from error
        for link in self.air.links:
            self.air.drop(link, flush=False)

    async def _switch_on(self) -> None:
        plate = self._setup.plate
        name, firmware = name_of(plate.serial), plate.module_firmware
        appearance = Appearance(name, plate.layout, passcode=False, module_firmware=firmware)
        await self.air.start(appearance, self._rules, self._tell)
        if self.air.company != _NO_COMPANY:  # a real one behind a socket
            await self.air.stop()
            raise ValueError(_on_real_adapter(self._controller.name))

    def _tell(self, event: AirEvent) -> None:
        match event:
            case LinkOpened(link, address):
                self._frames[link] = bapi.RequestAssembler()
                self.air.advertise(wanted=False)  # real ones serve one phone at a time
                self._report(f"link {link}: {address} connected")
            case LinkClosed(link, end):
                self._frames.pop(link, None)
                self._methods.closed(link)
                self._rules.over(link)
                self.air.advertise(wanted=not self._frames)
                self._report(f"link {link}: {end.value}")
            case BluetoothBonded(link, phone):
                how = "by Just Works" if phone is None else "by the passcode"
                self._report(f"link {link}: paired {how}")
            case PairingFailed(link):
                self._report(f"link {link}: pairing failed")
            case Written(link, Door.STOCK, value):
                self._take(link, value)
            case _:
                pass

    def _take(self, link: int, value: bytes) -> None:
        for raw in self._frames[link].feed(value):
            try:
                request = bapi.decode_request(raw)
            except bapi.BapiError:
                continue  # silence, as of real ones
            reply, action = self._methods.answer(link, request, running_s(), unix_s())
            self.air.send(link, Door.STOCK, reply)
            self._keep()
            if action is Action.REBOOT:
                asyncio.get_running_loop().call_later(REBOOT_AFTER_S, self._reboot.set)

    def _keep(self, *, at_once: bool = False) -> None:
        try:
            self._stock.keep(self._store, running_s(), at_once=at_once)
        except StoreFailed as error:
            self._report(f"{error}. The last settings are lost.")

    def _plug(self) -> None:
        self._hardware.plug_in(running_s())

    def _unplug(self) -> None:
        self._hardware.plug_out(running_s())
