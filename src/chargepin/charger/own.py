"""The passcode methods: what a session asks in its records, beside the stock ones.

A read is answered here; a change becomes a command for the guard, with the answer to give once it
is stored.
"""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import msgspec

from chargepin.charger.air import BluetoothPhone
from chargepin.charger.parameters import (
    BondParameters,
    ClaimParameters,
    ForgetParameters,
    PageParameters,
    PairingParameters,
    RotateParameters,
    SetParameters,
    VersionParameters,
    ViewedParameters,
)
from chargepin.charger.ports import Store, Unit, Updates
from chargepin.core import bonds, commands, handshake, identity
from chargepin.core.bapi import Request
from chargepin.core.bonds import Bond, Role
from chargepin.core.commands import Denial
from chargepin.core.durable import ClaimKept, Mode, PasscodeCredential, Policy
from chargepin.core.guard_state import Guard, Link
from chargepin.core.passcode import Passcode

PAGE_BYTES = 3000  # with the reply's frame and seal it stays under a message's 4096
BONDS_PAGE = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Put the command to the guard; answer gives the reply's value once it is stored."""

    command: commands.Command
    answer: Callable[[Guard], object]


@dataclass(frozen=True, slots=True)
class Tell:
    """Reply with this at once."""

    value: object


@dataclass(frozen=True, slots=True)
class StartUpdate:
    """Begin installing a version (None: the newest), and reply."""

    version: str | None


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """Open a pairing window for this session, and reply."""

    name: str


class OfWindow(Enum):
    """Close the pairing window, if one is open, or tell what became of the newest; and reply."""

    CLOSE = auto()
    TELL = auto()


@dataclass(frozen=True, slots=True)
class ForgetPhone:
    """Forget a phone that paired by its own dialog, and reply."""

    phone: BluetoothPhone


Outcome: TypeAlias = Ask | Tell | StartUpdate | OpenWindow | OfWindow | ForgetPhone


class Denied(Exception):
    """The request is not carried out."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.message)
        self.denial = denial


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the link's state, the guard's, and the wall clock (0 where it is not known).

    phones: those that paired by their own dialog.
    """

    link: Link
    guard: Guard
    unix_s: int
    phones: Sequence[BluetoothPhone] = ()


class OwnMethods:
    """The passcode methods of one charger."""

    def __init__(self, unit: Unit, store: Store, updates: Updates) -> None:
        self._unit = unit
        self._store = store
        self._updates = updates
        self._methods: Mapping[str, Callable[[object, Caller], Outcome]] = MappingProxyType(
            {
                "passcode.set": self._set,
                "passcode.rotate": self._rotate,
                "passcode.receipt": self._receipt,
                "bond.create": self._bond,
                "bonds.list": self._bonds,
                "bonds.forget": self._forget,
                "pairing.open": self._open_window,
                "pairing.close": lambda _, __: OfWindow.CLOSE,
                "pairing.last": lambda _, __: OfWindow.TELL,
                "log.read": self._log,
                "tamper.seen": lambda _, __: Ask(commands.SeeTamper(), lambda _: {}),
                "passcode.viewed": self._viewed,
                "pause.end": lambda _, __: Ask(commands.EndPause(), lambda _: {}),
                "policy.get": self._policy,
                "policy.set": self._set_policy,
                "claim": self._claim,
                "release": lambda _, __: Ask(commands.Release(), lambda _: {}),
                "reset": lambda _, __: Ask(commands.Reset(), lambda _: {}),
                "update.check": self._update_check,
                "update.start": self._update_start,
                "update.progress": self._update_progress,
            }
        )

    def knows(self, method: str) -> bool:
        """Whether this is one of ours."""
        return method in self._methods

    def is_passcode(self, passcode: Passcode, guard: Guard) -> bool:
        """Whether that is this charger's. As slow as its hash: not for the event loop."""
        credential = guard.durable.credential
        return credential is not None and credential.is_of(passcode, self._unit.identity)

    def take(self, request: Request, caller: Caller) -> Outcome:
        """Decide what a request comes to; its role was checked. Raises Denied."""
        return self._methods[request.met](request.par, caller)

    # ---- passcode -------------------------------------------------------------------------

    def _set(self, par: object, _: Caller) -> Outcome:
        wish = _read(par, SetParameters)
        command = commands.SetPasscode(_credential(wish), wish.generation, _token_hash(wish))
        return Ask(command, self._signed_receipt)

    def _rotate(self, par: object, _: Caller) -> Outcome:
        wish = _read(par, RotateParameters)
        keep = None if wish.keep is None else frozenset(wish.keep)
        command = commands.SetPasscode(
            _credential(wish), wish.generation, _token_hash(wish), rotation=True, keep=keep
        )
        return Ask(command, self._signed_receipt)

    def _receipt(self, _: object, caller: Caller) -> Outcome:
        if caller.guard.durable.credential is None:
            raise Denied(commands.NOT_SET)
        return Tell(self._signed_receipt(caller.guard))

    def _signed_receipt(self, guard: Guard) -> object:
        durable = guard.durable
        assert durable.credential is not None  # noqa: S101 - there is none to confirm otherwise
        receipt = identity.Receipt(
            identity=self._unit.identity,
            incarnation=durable.incarnation,
            generation=durable.generation,
            verifier_hash=identity.verifier_hash(
                durable.credential.verifier, durable.credential.salt, durable.credential.profile
            ),
            bonds=len(durable.bonds),
            log_head=self._store.head.hash,
        )
        signature = receipt.sign(self._unit.key)
        return {"receipt": receipt.encode().hex(), "signature": signature.hex()}

    # ---- bonds ----------------------------------------------------------------------------

    def _bond(self, par: object, caller: Caller) -> Outcome:
        wish = _read(par, BondParameters)
        secret = self._unit.random(32)
        bond_id = self._unit.random(8).hex()
        witness = handshake.bond_witness(secret, self._unit.identity)
        bond = Bond(
            bond_id=bond_id,
            name=bonds.clean_name(wish.name),
            role=_role(wish.role) or Role.USER,
            verifier=handshake.verifier_of(witness),
            tag_key=handshake.bond_tag_key(secret, self._unit.identity),
            generation=caller.guard.durable.generation,
            created_s=caller.unix_s,
            seen_s=caller.unix_s,
        )
        token = wish.owner_token
        token_hash = hashlib.sha256(bytes.fromhex(token)).digest() if token else None

        def answer(guard: Guard) -> object:
            kept = bonds.by_id(guard.durable.bonds, bond_id)
            role = kept.role.word if kept else Role.NONE.word
            return {"id": bond_id, "secret": secret.hex(), "role": role}

        return Ask(commands.AddBond(bond, token_hash), answer)

    def _bonds(self, par: object, caller: Caller) -> Outcome:
        page = _read(par or {}, PageParameters)
        own = caller.link.bond.bond_id if caller.link.bond else None
        seen = caller.guard.seen
        rows = [
            {
                "id": bond.bond_id,
                "kind": "app",
                "name": bond.name,
                "role": bond.role.word,
                "created": bond.created_s,
                "seen": seen.get(bond.bond_id, bond.seen_s),
                "this": bond.bond_id == own,
            }
            for bond in caller.guard.durable.bonds
        ] + [
            {
                "id": phone.bond_id,
                "kind": "bluetooth",
                "name": phone.name,
                "role": Role.USER.word,
                "created": phone.created_s,
                "seen": phone.seen_s,
                "this": False,
            }
            for phone in caller.phones
        ]
        listed = _page(rows[page.after : page.after + BONDS_PAGE])
        end = page.after + len(listed)
        return Tell({"bonds": listed, "next": end if end < len(rows) else None})

    def _forget(self, par: object, caller: Caller) -> Outcome:
        wish = _read(par, ForgetParameters)
        phone = next((each for each in caller.phones if each.bond_id == wish.id), None)
        if phone is None:
            return Ask(commands.ForgetBond(wish.id), lambda _: {})
        if caller.link.role < Role.ADMIN:
            raise Denied(commands.ROLE_TOO_LOW)
        return ForgetPhone(phone)

    def _open_window(self, par: object, caller: Caller) -> Outcome:
        wish = _read(par or {}, PairingParameters)
        if caller.guard.durable.mode is not Mode.PROTECTED:
            raise Denied(commands.NOT_SET)
        if len(caller.phones) >= bonds.BLUETOOTH_CAPACITY:
            raise Denied(commands.TABLE_FULL)
        return OpenWindow(bonds.clean_name(wish.name) if wish.name.strip() else "")

    # ---- log, policy, claim, update -------------------------------------------------------

    def _log(self, par: object, caller: Caller) -> Outcome:
        page = _read(par or {}, PageParameters)
        entries = _page(self._store.entries(page.after, 40))
        return Tell(
            {
                "entries": entries,
                "head": self._store.head,
                "begins": self._store.log_begins,
                "counting": dict(caller.guard.counted),
            }
        )

    def _viewed(self, par: object, _: Caller) -> Outcome:
        times = _read(par, ViewedParameters).times
        return Ask(commands.PasscodeViewed(times), lambda _: {})

    def _policy(self, _: object, caller: Caller) -> Outcome:
        return Tell(msgspec.to_builtins(caller.guard.durable.policy))

    def _set_policy(self, par: object, _: Caller) -> Outcome:
        return Ask(commands.SetPolicy(_read(par, Policy)), lambda _: {})

    def _claim(self, par: object, _: Caller) -> Outcome:
        wish = _read(par, ClaimParameters)
        kept = ClaimKept(wish.account, bytes.fromhex(wish.root_key))

        def answer(guard: Guard) -> object:
            claim = identity.Claim(
                identity=self._unit.identity,
                serial=self._unit.serial,
                incarnation=guard.durable.incarnation,
                generation=guard.durable.generation,
                account=wish.account,
                root_key=kept.root_key,
                nonce=bytes.fromhex(wish.nonce),
            )
            return {"claim": claim.encode().hex(), "signature": claim.sign(self._unit.key).hex()}

        return Ask(commands.TakeClaim(kept), answer)

    def _update_check(self, _: object, __: Caller) -> Outcome:
        newest = self._updates.newest()
        installed = str(self._updates.installed)
        return Tell({"installed": installed, "newest": str(newest) if newest else None})

    def _update_start(self, par: object, _: Caller) -> Outcome:
        return StartUpdate(_read(par or {}, VersionParameters).version)

    def _update_progress(self, _: object, __: Caller) -> Outcome:
        return Tell(msgspec.to_builtins(self._updates.progress))


def _read(par: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(par, kind)
    except msgspec.ValidationError as error:
        raise Denied(
            Denial("bad_parameters", f"The request's parameters are wrong: {error}")
        ) from None


def _page(rows: Sequence[T]) -> list[T]:
    """The first rows, as many as fit into one message, but at least one."""
    sizes = itertools.accumulate(len(msgspec.json.encode(row)) + 1 for row in rows)
    fitting = sum(size <= PAGE_BYTES for size in sizes)
    return list(rows[: max(1, fitting)])


def _credential(wish: SetParameters) -> PasscodeCredential:
    raw = bytes.fromhex(wish.verifier)
    verifier = handshake.Verifier(raw[:32], raw[32:])
    try:
        verifier.check()
        handshake.check_profile(wish.profile)
    except handshake.HandshakeError as error:
        raise Denied(Denial("bad_verifier", f"The verifier cannot be used: {error}")) from None
    return PasscodeCredential(verifier, bytes.fromhex(wish.salt), wish.profile)


def _token_hash(wish: SetParameters) -> bytes | None:
    return bytes.fromhex(wish.owner_token_hash) if wish.owner_token_hash else None


def _role(word: str | None) -> Role | None:
    return next((role for role in Role if role.word == word), None)
