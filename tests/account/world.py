"""A whole account service for each test: a real database file, real hashes, a clock set by hand."""

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.account.api import AccountService, Settings
from chargepin.account.ports import Clock
from chargepin.core.handshake import PROFILE, passcode_witness, verifier_of
from chargepin.core.identity import Claim, Receipt, verifier_hash
from chargepin.core.messages import KeptPasscode
from chargepin.core.passcode import Passcode

PASSWORD = "correct horse battery"
_numbers = count(1)


@dataclass
class HandClock:
    """Both clocks, moved together or alone."""

    unix_s: int = 1_800_000_000
    running_s: float = 1000.0

    def advance(self, seconds: int) -> None:
        self.unix_s += seconds
        self.running_s += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.unix_s, lambda: self.running_s)


@dataclass
class Unit:
    """What a charger signs, without the charger."""

    key: Ed25519PrivateKey
    serial: str = "123456"
    incarnation: int = 1
    generation: int = 0

    @property
    def id(self) -> str:
        return self.key.public_key().public_bytes_raw().hex()

    def claim(self, challenge: dict[str, str]) -> dict[str, Any]:
        claim = Claim(
            identity=bytes.fromhex(self.id),
            serial=self.serial,
            incarnation=self.incarnation,
            generation=self.generation,
            account=challenge["account"],
            root_key=bytes.fromhex(challenge["root_key"]),
            nonce=bytes.fromhex(challenge["nonce"]),
        )
        return {
            "identity": self.id,
            "serial": self.serial,
            "incarnation": self.incarnation,
            "generation": self.generation,
            **challenge,
            "signature": claim.sign(self.key).hex(),
        }

    def receipt(self, kept: KeptPasscode) -> dict[str, str]:
        """Take the passcode as the charger's own, and say so."""
        salt = bytes.fromhex(kept.salt)
        identity = bytes.fromhex(self.id)
        witness = passcode_witness(Passcode(kept.passcode), identity, salt, PROFILE)
        self.generation = kept.generation
        return self.signed(verifier_hash(verifier_of(witness), salt, PROFILE))

    def signed(self, hashed: bytes) -> dict[str, str]:
        receipt = Receipt(
            identity=bytes.fromhex(self.id),
            incarnation=self.incarnation,
            generation=self.generation,
            verifier_hash=hashed,
            bonds=2,
            log_head=bytes(32),
        )
        return {"receipt": receipt.encode().hex(), "signature": receipt.sign(self.key).hex()}


def steady_port() -> int:
    """A free port out of the range that systems give away, so that it is free again later."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def new_unit() -> Unit:
    return Unit(Ed25519PrivateKey.from_private_bytes(next(_numbers).to_bytes(32)))


@dataclass
class Someone:
    """A person signed in, and the requests one makes."""

    http: httpx.AsyncClient
    person: str
    token: str

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        return await self.http.request(
            method,
            path,
            headers={"Authorization": f"Bearer {self.token}"},
            content=b"" if body is None else msgspec.json.encode(body),
        )

    async def get(self, path: str) -> Any:
        return ok(await self.ask("GET", path))

    async def post(self, path: str, body: object = None) -> Any:
        return ok(await self.ask("POST", path, body))

    async def delete(self, path: str) -> Any:
        return ok(await self.ask("DELETE", path))

    async def claim(self, unit: Unit) -> Any:
        challenge = await self.post("/v1/claims", {"identity": unit.id})
        return await self.post("/v1/chargers", unit.claim(challenge))

    async def assign(self, unit: Unit) -> KeptPasscode:
        answer = await self.post(
            f"/v1/chargers/{unit.id}/passcode/assign", {"expected_generation": unit.generation}
        )
        return msgspec.convert(answer, KeptPasscode)

    async def assign_and_confirm(self, unit: Unit) -> KeptPasscode:
        kept = await self.assign(unit)
        await self.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(kept))
        return kept

    async def passcodes(self, unit: Unit) -> list[dict[str, Any]]:
        answer = await self.get(f"/v1/chargers/{unit.id}/passcode")
        return list(answer["passcodes"])

    async def invite(self, unit: Unit, person: str, role: str = "user", **more: object) -> str:
        answer = await self.post(
            f"/v1/chargers/{unit.id}/invitations", {"person": person, "role": role, **more}
        )
        return str(answer["link"])

    async def accept(self, link: str) -> Any:
        return await self.post("/v1/invitations/accept", {"secret": link.rpartition("#")[2]})


def ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return response.json()


def problem(response: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error, which has the one form that errors have."""
    error = response.json()["error"]
    assert set(error) <= {"code", "message", "retry_after_s", "needed"}
    assert error["message"]
    return response.status_code, error["code"]


@dataclass
class World:
    """The service, its file and its clock."""

    directory: Path
    hands: HandClock = field(default_factory=HandClock)
    settings: Settings = field(default_factory=Settings)
    randbelow: Callable[[int], int] = secrets.randbelow
    service: AccountService = field(init=False)
    http: httpx.AsyncClient = field(init=False)

    @property
    def database(self) -> Path:
        return self.directory / "account.db"

    def open(self) -> None:
        self.service = AccountService(
            self.database,
            "https://account.example",
            self.settings,
            self.hands.clock,
            self.randbelow,
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.service.app, raise_app_exceptions=False),
            base_url="https://account.example",
        )

    async def close(self) -> None:
        await self.http.aclose()
        await self.service.close()

    async def restart(self) -> None:
        await self.close()
        self.open()

    async def sign_up(self, person: str) -> Someone:
        response = await self.http.post("/v1/signup", json={"person": person, "password": PASSWORD})
        return Someone(self.http, person, ok(response)["token"])

    async def sign_in(self, person: str, password: str = PASSWORD) -> httpx.Response:
        return await self.http.post("/v1/login", json={"person": person, "password": password})

    async def member(self, owner: Someone, unit: Unit, person: str, role: str) -> Someone:
        someone = await self.sign_up(person)
        ends = {"until_unix_s": self.hands.unix_s + 3600} if role == "guest" else {}
        await someone.accept(await owner.invite(unit, person, role, **ends))
        return someone
