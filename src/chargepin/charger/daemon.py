"""Wiring of the charger: store, hardware, updates, air and service; restarts after an update."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from chargepin.charger.air import Air, Appearance
from chargepin.charger.bluetooth.lasting import LastingAir
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.charger.button import Front, Presses
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.inbox import Ending
from chargepin.charger.kept import StoredBonds, address_of
from chargepin.charger.ports import StoreFailed, Unit
from chargepin.charger.service import Clocks, Service
from chargepin.charger.setup import Setup, first_state
from chargepin.charger.stock import StockMethods, TypePlate, kept_hardware, kept_settings
from chargepin.charger.store import SQLiteStore
from chargepin.charger.update import USUAL_PACE_S, ShippedImages, Updater
from chargepin.core import guard
from chargepin.core import guard_state as state
from chargepin.core.catalogue import name_of, supports_passcode
from chargepin.core.durable import Mode
from chargepin.core.pairing_window import Draw
from chargepin.machine.clock import known_unix_s, running_s, unix_s
from chargepin.machine.controller import Controller, open_controller

Report: TypeAlias = Callable[[str], None]
Rule: TypeAlias = Callable[[state.Guard, state.Event, float], state.Step]


class Daemon:
    """A running charger: one store and one controller, and a service that a restart replaces.

    rule, air: what stands between the air and the state; other ones are for tests of tests.
    update_pace_s: how long the download of an update takes. draw: makes pairing codes.
    """

    def __init__(
        self,
        setup: Setup,
        controller: Controller,
        store: SQLiteStore,
        report: Report,
        *,
        rule: Rule = guard.step,
        air: Callable[[Air], Air] = lambda air: air,
        update_pace_s: float = USUAL_PACE_S,
        draw: Draw = secrets.randbelow,
    ) -> None:
        key = store.identity
        identity = key.public_key().public_bytes_raw()
        self._setup = setup
        self._store = store
        self._report = report
        self._rule = rule
        self._update_pace_s = update_pace_s
        self._draw = draw
        self._unit = Unit(key, identity, setup.serial, secrets.token_bytes)
        address, self._bonds = address_of(store), StoredBonds(store, self._now_s)
        self._lasting = LastingAir(
            controller,
            lambda: open_controller(controller.name),
            lambda its, numbers: Peripheral(
                its.transport, address, self._bonds, unix_s=unix_s, numbers=numbers
            ),
            report,
        )
        self._air = air(self._lasting)
        self._front = Front(
            setup.directory / "button",
            {
                "press": self._press,
                "hold": lambda: self.service.button(held=True),
                "plug": self._plug,
                "unplug": self._unplug,
                "tamper": lambda: self._housing(opened=True),
                "cover": lambda: self._housing(opened=False),
            },
            {
                "sun": lambda watts: self.hardware.shine(self.service.now_s(), watts),
                "house": lambda amperes: self.hardware.draw(self.service.now_s(), amperes),
            },
            lambda: self.service.settled(),  # noqa: PLW0108 - a restart brings another service
        )
        self._service: Service | None = None
        self._hardware: SimulatedHardware | None = None
        self._stock: StockMethods | None = None

    @classmethod
    async def start(
        cls,
        setup: Setup,
        radio: str,
        report: Report,
        *,
        rule: Rule = guard.step,
        air: Callable[[Air], Air] = lambda air: air,
        update_pace_s: float = USUAL_PACE_S,
        draw: Draw = secrets.randbelow,
    ) -> "Daemon":
        """Open everything and go on the air. Raises OSError with a sentence."""
        try:
            store = await asyncio.to_thread(SQLiteStore, setup.directory, report=report)
        except StoreFailed as error:
            raise OSError(str(error)) from error
        if store.set_aside is not None:
            report(
                f"The charger's state was damaged; it is kept aside as {store.set_aside}. The"
                " charger stays closed. To begin anew, hold its button for ten seconds within two"
                " minutes of switching it on."
            )
        controller = None
        try:
            controller = await open_controller(radio)
            daemon = cls(
                setup,
                controller,
                store,
                report,
                rule=rule,
                air=air,
                update_pace_s=update_pace_s,
                draw=draw,
            )
            await daemon._switch_on()
            await daemon._front.open()
        except BaseException:
            store.close()
            if controller is not None:
                await controller.close()
            raise
        return daemon

    async def run(self) -> None:
        """Serve until stopped; an update or `rebot` restarts the service."""
        keeping = asyncio.ensure_future(self._lasting.keep())
        try:
            while await self._serve(keeping) is not Ending.STOPPED:
                await self._switch_on()
        finally:
            await _cancelled(keeping)

    async def _serve(self, keeping: asyncio.Future[None]) -> Ending:
        serving = asyncio.ensure_future(self.service.run())
        ends: list[asyncio.Future[Any]] = [serving, keeping]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:  # cancelled, too: nothing may use the store once it is closed
            await _cancelled(serving)
        if keeping.done():
            keeping.result()  # it never ends but by a fault
        await self._air.stop()
        return serving.result()

    async def close(self) -> None:
        """Leave the air and close everything."""
        await self._front.close()
        await self._air.stop()
        self._keep_power_side()
        await self._lasting.close()
        self._store.close()

    @property
    def service(self) -> Service:
        """The rules that are at work now."""
        assert self._service is not None  # noqa: S101 - `start` made it
        return self._service

    @property
    def hardware(self) -> SimulatedHardware:
        """The power side that is simulated now."""
        assert self._hardware is not None  # noqa: S101 - `start` made it
        return self._hardware

    @property
    def listen(self) -> str:
        """Where it is found: the name it advertises."""
        return name_of(self._setup.serial)

    async def _switch_on(self) -> None:
        """Begin, with the software that is installed now."""
        setup = self._setup
        images = ShippedImages()
        updater = Updater(
            setup.directory,
            setup.family,
            setup.software,
            images,
            images.maker_key,
            pace_s=self._update_pace_s,
        )
        start = await self._begun(updater)
        durable, software = start.guard.durable, start.guard.software
        now_s = durable.running_s
        self._hardware = SimulatedHardware(
            setup.family, kept_hardware(self._store), now_s, unix_s()
        )
        plate = TypePlate(setup.serial, setup.family, software, setup.layout)
        self._stock = StockMethods(
            plate, self._hardware, updater, kept_settings(self._store), now_s=now_s
        )
        clocks = Clocks(running_s, known_unix_s)
        self._service = Service(
            self._unit,
            self._store,
            self._air,
            self._stock,
            updater,
            start,
            clocks,
            self._report,
            step=self._rule,
            draw=self._draw,
            capacity=setup.links,
        )
        service = self._service
        self._hardware.on_button(Presses(lambda held: service.button(held=held)).moved)
        self._hardware.on_tamper(lambda opened: service.housing(opened=opened))
        protected = durable.mode is not Mode.OPEN
        if protected and not supports_passcode(software):
            self._report(
                f"Software {software} is older than the passcode that is set: the charger stays"
                " closed until it is updated."
            )
        passcode = protected or supports_passcode(software)
        name = name_of(setup.serial)
        appearance = Appearance(name, plate.layout, passcode, plate.module_firmware)
        await self._air.start(appearance, self._service.rights, self._service.tell)

    async def _begun(self, updater: Updater) -> state.Step:
        """The guard as it begins with what was kept."""
        setup = self._setup
        durable = await asyncio.to_thread(
            first_state, self._store, self._unit, setup.factory_passcode, setup.profile
        )
        started_s = durable.running_s - setup.powered_s_ago
        if self._service is not None:  # it restarts only: time and presence go on
            durable = replace(durable, running_s=self._service.now_s())
            started_s = self._service.guard.started_s
        start = guard.powered_up(durable, updater.installed, updater.oldest_app, started_s)
        available = updater.newest() is not None
        return replace(start, guard=replace(start.guard, update_available=available))

    def _keep_power_side(self) -> None:
        if self._stock is None or self._service is None:
            return
        try:
            self._stock.keep(self._store, self.service.now_s(), at_once=True)
        except StoreFailed as error:
            self._report(f"{error}. The last minutes of metering are lost.")

    def _now_s(self) -> float:
        return self.service.now_s()

    def _press(self) -> None:
        self.hardware.press_button(down=True)
        self.hardware.press_button(down=False)

    def _housing(self, *, opened: bool) -> None:
        self.hardware.open_housing(opened=opened)

    def _plug(self) -> None:
        self.hardware.plug_in(self.service.now_s())

    def _unplug(self) -> None:
        self.hardware.plug_out(self.service.now_s())


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel it unless it is done, and wait until it is."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
