"""What a charger signs and chains, written from sections 15 and 16 of docs/protocol.md alone."""

import hashlib
import json
import struct
from dataclasses import dataclass

from docs.mini_client import Fields, check


@dataclass(frozen=True)
class Receipt:
    identity: bytes
    incarnation: int
    generation: int
    verifier_hash: bytes
    bonds: int
    log_head: bytes


def read_receipt(raw: bytes, signature: bytes) -> Receipt:
    fields = Fields(raw)
    receipt = Receipt(
        fields.octets(32),
        fields.number(4),
        fields.number(4),
        fields.octets(32),
        fields.number(2),
        fields.octets(32),
    )
    fields.end()
    check(receipt.identity, signature, b"chargepin receipt 1" + raw)
    return receipt


def verifier_hash(verifier97: bytes, salt: bytes, profile: int) -> bytes:
    return hashlib.sha256(verifier97 + salt + bytes([profile])).digest()


@dataclass(frozen=True)
class Claim:
    identity: bytes
    serial: str
    incarnation: int
    generation: int
    account: str
    root_key: bytes
    nonce: bytes


def read_claim(raw: bytes, signature: bytes) -> Claim:
    fields = Fields(raw)
    claim = Claim(
        fields.octets(32),
        fields.text(),
        fields.number(4),
        fields.number(4),
        fields.text(),
        fields.octets(32),
        fields.octets(32),
    )
    fields.end()
    check(claim.identity, signature, b"chargepin claim 1" + raw)
    return claim


def log_entry(
    previous: bytes, sequence: int, unix_s: int, running_s: float, event: str, detail: object
) -> bytes:
    """What is hashed. Python's JSON escapes as section 16 wants it."""
    name = event.encode()
    text = json.dumps(detail, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    times = struct.pack(">Qqd", sequence, unix_s, running_s)
    lengths = struct.pack(">H", len(name)), struct.pack(">I", len(text))
    return b"chargepin log 1" + previous + times + lengths[0] + name + lengths[1] + text
