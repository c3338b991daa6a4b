"""What a charger is told when it is started, and what it is at its first start."""

from dataclasses import dataclass, replace
from pathlib import Path

from chargepin.charger.ports import Store, Unit
from chargepin.core import handshake, slots
from chargepin.core.catalogue import Family, Version, family_of, serial_of
from chargepin.core.durable import (
    Durable,
    Factory,
    Mode,
    PasscodeCredential,
    Profile,
    usual_policy,
)
from chargepin.core.gatt import Layout, layout_named
from chargepin.core.passcode import Passcode, entered

SALT_BYTES = 16
PROFILE = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """What a charger is told when it is started.

    directory: its private files. software: what left the factory; an update kept in the directory
    wins. layout: its radio module. factory_passcode, profile: from the factory file, used at the
    first start only. powered_s_ago: how long ago the power came, if that was not just now: a
    program that is started anew is no power-up. links: how many phones the radio carries at a time.
    """

    serial: str
    family: Family
    software: Version
    directory: Path
    layout: Layout
    factory_passcode: Passcode | None = None
    profile: Profile = Profile.NONE
    powered_s_ago: float = 0.0
    links: int = slots.CAPACITY


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
    links: int | None = None,
) -> Setup:
    """Read the options of `serve charger`. Raises ValueError or OSError with a sentence.

    radio_module: None for the one that the family is simulated with. profile: "none" or "eu".
    links: None for as many as the radio module carries.
    """
    factory = None
    if factory_passcode_file is not None:
        factory = entered(factory_passcode_file.read_text(encoding="utf-8", errors="replace"))
    family = family_of(model)
    layout = family.layout if radio_module is None else layout_named(radio_module)
    return Setup(
        serial=serial_of(serial),
        family=family,
        software=Version.parse(software),
        directory=directory,
        layout=layout,
        factory_passcode=factory,
        profile=_profile(profile),
        powered_s_ago=powered_s_ago,
        links=links or (1 if layout.stock.one_central else slots.CAPACITY),
    )


def _profile(word: str) -> Profile:
    for profile in Profile:
        if profile.value == word:
            return profile
    raise ValueError(f"there is no profile {word!r}, but {' and '.join(p.value for p in Profile)}")
