"""Wiring of the charger: store, hardware, updates, air and service; restarts after an update."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chargepin.charger.air import Appearance
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.peripheral import Peripheral
from chargepin.charger.ports import Store, Unit
from chargepin.charger.service import Clocks, Ending, Service
from chargepin.charger.stock import StockMethods
from chargepin.charger.store import SQLiteStore
from chargepin.charger.update import ShippedImages, Updater
from chargepin.core import guard, handshake
from chargepin.core import guard_state as state
from chargepin.core.catalogue import Family, Version, name_of, supports_passcode
from chargepin.core.durable import Durable, Factory, Mode, PasscodeCredential
from chargepin.core.passcode import Passcode
from chargepin.machine.clock import running_s, unix_s

SALT_BYTES = 16
PROFILE = 1
OLDEST_APP = Version(0, 1, 0)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a charger is told when it is started.

    directory: its private files. software: what left the factory; an update kept in the directory
    wins. factory_passcode: from the factory file, used at the first start only.
    """

    serial: str
    family: Family
    software: Version
    directory: Path
    address: str
    factory_passcode: Passcode | None = None
    step: Callable[[state.Guard, state.Event, float], state.Step] = guard.step


def first_state(store: Store, unit: Unit, factory: Passcode | None) -> Durable:
    """What was stored, or a new charger's beginning. Raises StoreFailed."""
    kept = store.load()
    if kept is not None:
        return kept
    if factory is None:
        return Durable()
    salt = unit.random(SALT_BYTES)
    witness = handshake.passcode_witness(factory, unit.identity, salt, PROFILE)
    credential = PasscodeCredential(handshake.verifier_of(witness), salt, PROFILE)
    return Durable(
        mode=Mode.PROTECTED, generation=1, credential=credential, factory=Factory(credential)
    )
