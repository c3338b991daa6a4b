"""The charger's Bluetooth over the loss of its controller: opened again, and all as it was.

An adapter that is pulled out, or a radio that is started anew, is no power-up: charging, pauses,
and the times within which a button counts go on. Only the links are over.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeAlias

from chargepin.charger.air import AirEvent, Appearance, BluetoothPhone, Door, Rules
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.machine.controller import Controller, ControllerError

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0

Open: TypeAlias = Callable[[], Awaitable[Controller]]
Build: TypeAlias = Callable[[Controller, Iterator[int]], Peripheral]
Order: TypeAlias = tuple[Appearance, Rules, Callable[[AirEvent], None]]


class LastingAir:
    """An Air whose controller may go and come back.

    build: makes the adapter for a controller; its links are numbered by the iterator.
    controller_open: opens the controller again, raising ControllerError. report: tells a person.
    """

    def __init__(
        self,
        controller: Controller,
        controller_open: Open,
        build: Build,
        report: Callable[[str], None],
    ) -> None:
        self._controller = controller
        self._open = controller_open
        self._build = build
        self._report = report
        self._numbers = itertools.count(1)  # over every controller, so that none comes twice
        self._peripheral = build(controller, self._numbers)
        self._turn = asyncio.Lock()
        self._order: Order | None = None
        self._wanted = True
        self._proven = False

    async def keep(self) -> None:
        """Come back whenever the controller is lost, for as long as this is awaited."""
        while True:
            await asyncio.wait([self._peripheral.lost])
            self._report(
                f"{self._controller.name}: the Bluetooth controller is gone. Charging goes on;"
                " Bluetooth does as soon as it is there again."
            )
            await self._come_back()
            self._report(f"{self._controller.name}: the Bluetooth controller is back.")

    async def close(self) -> None:
        """Fall silent and give the controller back."""
        await self.stop()
        await self._controller.close()

    # ---- orders -----------------------------------------------------------------------------

    async def start(
        self, appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
    ) -> None:
        """Set up services, and advertise; at once, or when a controller that was lost is back.

        Raises ControllerError if there never was a controller that did.
        """
        async with self._turn:
            self._order, self._wanted = (appearance, rules, tell), True
            if self._proven and self._peripheral.lost.done():
                return
            try:
                await self._peripheral.start(appearance, rules, tell)
            except ControllerError as error:
                if not (self._proven and self._peripheral.lost.done()):
                    raise ControllerError(f"{self._controller.name}: {error}") from error
            self._proven = True

    async def stop(self) -> None:
        async with self._turn:
            self._order = None
            await self._peripheral.stop()

    def send(self, link: int, door: Door, message: bytes) -> None:
        self._peripheral.send(link, door, message)

    def drop(self, link: int, *, flush: bool) -> None:
        self._peripheral.drop(link, flush=flush)

    def advertise(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._peripheral.advertise(wanted=wanted)

    def forget_bonds(self) -> None:
        """Delete every Bluetooth bond. Raises StoreFailed."""
        self._peripheral.forget_bonds()

    def forget_phone(self, bond_id: str) -> Sequence[int]:
        """Delete one Bluetooth bond and hang up on its phone. Raises StoreFailed."""
        return self._peripheral.forget_phone(bond_id)

    def end_pairing(self) -> None:
        self._peripheral.end_pairing()

    @property
    def phones(self) -> Sequence[BluetoothPhone]:
        return self._peripheral.phones

    @property
    def links(self) -> Sequence[int]:
        return self._peripheral.links

    @property
    def full(self) -> bool:
        return self._peripheral.full

    # ---- inside -----------------------------------------------------------------------------

    async def _come_back(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            await self._controller.close()
            try:
                await self._go_on()
            except ControllerError:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                return

    async def _go_on(self) -> None:
        async with self._turn:
            self._controller = await self._open()
            self._peripheral = self._build(self._controller, self._numbers)
            if self._order is not None:
                await self._peripheral.start(*self._order)
                self._peripheral.advertise(wanted=self._wanted)
