"""Wiring of the charger: store, hardware, updates, air and service; restarts after an update."""

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from chargepin.charger.air import Air, Appearance
from chargepin.charger.button import Front, Presses
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.inbox import Ending
from chargepin.charger.lasting import LastingAir
from chargepin.charger.pairing import BluetoothBond
from chargepin.charger.peripheral import Peripheral
from chargepin.charger.ports import Store, StoreFailed, Unit
from chargepin.charger.service import Clocks, Service
from chargepin.charger.stock import StockMethods, TypePlate, kept_hardware, kept_settings
from chargepin.charger.store import SQLiteStore
from chargepin.charger.update import USUAL_PACE_S, ShippedImages, Updater
from chargepin.core import guard, handshake
from chargepin.core import guard_state as state
from chargepin.core.catalogue import (
    Family,
    Version,
    family_of,
    name_of,
    serial_of,
    supports_passcode,
)
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.durable import (
    Durable,
    Factory,
    Mode,
    PasscodeCredential,
    Profile,
    usual_policy,
)
from chargepin.core.gatt import Layout, layout_named
from chargepin.core.pairing_window import Draw
from chargepin.core.passcode import Passcode, entered
from chargepin.machine.clock import running_s, unix_s
from chargepin.machine.controller import Controller, open_controller

_STATIC_ADDRESS = re.compile(rb"[C-F][0-9A-F](:[0-9A-F]{2}){5}")

SALT_BYTES = 16
PROFILE = 1
WRITTEN_UNIX_S = 1_735_689_600  # 2025-01-01

Report: TypeAlias = Callable[[str], None]
Rule: TypeAlias = Callable[[state.Guard, state.Event, float], state.Step]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a charger is told when it is started.

    directory: its private files. software: what left the factory; an update kept in the directory
    wins. layout: its radio module. factory_passcode, profile: from the factory file, used at the
    first start only. powered_s_ago: how long ago the power came, if that was not just now: a
    program that is started anew is no power-up.
    """

    serial: str
    family: Family
    software: Version
    directory: Path
    layout: Layout
    factory_passcode: Passcode | None = None
    profile: Profile = Profile.NONE
    powered_s_ago: float = 0.0


def first_state(
    store: Store, unit: Unit, factory: Passcode | None, profile: Profile = Profile.NONE
) -> Durable:
    """What was stored, or a new charger's beginning. Raises StoreFailed."""
    kept = store.load()
    if kept is not None:
        return kept
    new = Durable(profile=profile, policy=usual_policy(profile))
    if factory is None:
        return new
    salt = unit.random(SALT_BYTES)
    witness = handshake.passcode_witness(factory, unit.identity, salt, PROFILE)
    credential = PasscodeCredential(handshake.verifier_of(witness), salt, PROFILE)
    return replace(
        new, mode=Mode.PROTECTED, generation=1, credential=credential, factory=Factory(credential)
    )


def setup_of(
    *,
    serial: str,
    model: str,
    software: str,
    directory: Path,
    factory_passcode_file: Path | None = None,
    radio_module: str | None = None,
    profile: str = Profile.NONE.value,
    powered_s_ago: float = 0.0,
) -> Setup:
    """Read the options of `serve charger`. Raises ValueError or OSError with a sentence.

    radio_module: None for the one that the family is simulated with. profile: "none" or "eu".
    """
    factory = None
    if factory_passcode_file is not None:
        factory = entered(factory_passcode_file.read_text(encoding="utf-8", errors="replace"))
    family = family_of(model)
    return Setup(
        serial=serial_of(serial),
        family=family,
        software=Version.parse(software),
        directory=directory,
        layout=family.layout if radio_module is None else layout_named(radio_module),
        factory_passcode=factory,
        profile=_profile(profile),
        powered_s_ago=powered_s_ago,
    )


def _profile(word: str) -> Profile:
    for profile in Profile:
        if profile.value == word:
            return profile
    raise ValueError(f"there is no profile {word!r}, but {' and '.join(p.value for p in Profile)}")


class StoredBonds:
    """Bluetooth bonds in the charger's store, at hand in memory. now_s: running seconds.

    One that cannot be read counts for nothing: its phone has to pair again.
    """

    def __init__(self, store: SQLiteStore, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self._store = store
        self._now_s = now_s
        self._bonds: dict[str, BluetoothBond] = {}
        for identity, value in store.bluetooth_bonds().items():
            with suppress(Undecodable):
                self._bonds[identity] = decoded(value, BluetoothBond)

    def get(self, identity: str) -> BluetoothBond | None:
        return self._bonds.get(identity)

    def put(self, bond: BluetoothBond) -> None:
        before = self._bonds.get(bond.identity)
        renewed = before is not None and before.long_term_key == bond.long_term_key
        entry = None
        if bond.authenticated and not renewed:
            detail: dict[str, str | int] = {"bond": bond.bond_id, "name": bond.phone.name}
            entry = state.Entry("bluetooth_bond_added", detail)
        now = known_unix_s(), self._now_s()
        value = msgspec.json.encode(bond)
        self._store.put_bluetooth_bond(bond.identity, value, entry, *now, renewed=renewed)
        self._bonds[bond.identity] = bond

    def delete(self, identity: str) -> None:
        self._store.put_bluetooth_bond(identity, None)
        self._bonds.pop(identity, None)

    def all(self) -> Sequence[BluetoothBond]:
        return tuple(self._bonds.values())


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
            store = await asyncio.to_thread(SQLiteStore, setup.directory)
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
        software = updater.installed
        durable = await asyncio.to_thread(
            first_state, self._store, self._unit, setup.factory_passcode, setup.profile
        )
        started_s = durable.running_s - setup.powered_s_ago
        if self._service is not None:  # it restarts only: time and presence go on
            durable = replace(durable, running_s=self._service.now_s())
            started_s = self._service.guard.started_s
        start = guard.powered_up(durable, software, updater.oldest_app, started_s)
        available = updater.newest() is not None
        start = replace(start, guard=replace(start.guard, update_available=available))
        now_s = start.guard.durable.running_s
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
        appearance = Appearance(name, self._stock.layout, passcode)
        await self._air.start(appearance, self._service.rights, self._service.tell)

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


def known_unix_s() -> int:
    """The wall clock; 0 while it stands before this program was written: nobody has set it."""
    now_s = unix_s()
    return now_s if now_s >= WRITTEN_UNIX_S else 0


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel it unless it is done, and wait until it is."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def address_of(store: Store) -> str:
    """The charger's static random address, drawn at its first start. Raises StoreFailed."""
    kept = store.get("address")
    if kept is None or _STATIC_ADDRESS.fullmatch(kept) is None:
        raw = bytearray(secrets.token_bytes(6))
        raw[0] |= 0xC0  # Core Vol 6, Part B, 1.3.2.1: the two highest bits are 1
        kept = raw.hex(":").upper().encode()
        store.put("address", kept)
    return kept.decode()
