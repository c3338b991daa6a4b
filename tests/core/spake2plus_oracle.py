"""SPAKE2+ (RFC 9383) written a second time, slowly and differently, to compare the real one with.

Nothing is shared with it: projective coordinates and complete formulas instead of affine ones,
binary multiplication instead of ECDH, HMAC and HKDF from the bare hash. Not for secrets.
"""

import hashlib
from dataclasses import dataclass

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 115792089210356248762697446949407573529996955224135760342422259061068512044369
A = -3
B = 41058363725152142129326129780047268409114441015993725554835256314039467401291

Triple = tuple[int, int, int]  # homogeneous X:Y:Z, x = X/Z, y = Y/Z; infinity is 0:1:0

INFINITY: Triple = (0, 1, 0)


def root(square: int, *, odd: bool) -> int:
    value = pow(square, (P + 1) // 4, P)
    if value * value % P != square % P:
        raise ValueError("no point has this x")
    return P - value if value % 2 != odd else value


def lifted(x: int, *, odd: bool) -> Triple:
    return (x, root(x**3 + A * x + B, odd=odd), 1)


G = lifted(0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296, odd=True)
M = lifted(0x886E2F97ACE46E55BA9DD7242579F2993B64E16EF3DCAB95AFD497333D8FA12F, odd=False)
N = lifted(0xD8BBD6C639C62937B04D997F38C3770719C629D7014D49A24B4F98BAA1292B49, odd=True)


def plus(one: Triple, other: Triple) -> Triple:
    """The complete addition law for prime order (Bosma and Lenstra; Renes, Costello, Batina)."""
    x1, y1, z1 = one
    x2, y2, z2 = other
    xx, yy, zz = x1 * x2, y1 * y2, z1 * z2
    xy, xz, yz = x1 * y2 + x2 * y1, x1 * z2 + x2 * z1, y1 * z2 + y2 * z1
    low = yy - A * xz - 3 * B * zz
    high = yy + A * xz + 3 * B * zz
    mixed = A * xx + 3 * B * xz - A * A * zz
    slope = 3 * xx + A * zz
    return (
        (xy * low - yz * mixed) % P,
        (slope * mixed + high * low) % P,
        (yz * high + xy * slope) % P,
    )


def minus(point: Triple) -> Triple:
    return (point[0], -point[1] % P, point[2])


def multiple(scalar: int, point: Triple) -> Triple:
    total = INFINITY
    for bit in f"{scalar:b}":
        total = plus(total, total)
        if bit == "1":
            total = plus(total, point)
    return total


def written(point: Triple) -> bytes:
    if point[2] % P == 0:
        return b"\x00"
    scale = pow(point[2], -1, P)
    x, y = point[0] * scale % P, point[1] * scale % P
    return bytes([4]) + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def read(raw: bytes) -> Triple:
    x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    if len(raw) != 65 or raw[0] != 4 or x >= P or y >= P or (y * y - x**3 - A * x - B) % P:
        raise ValueError("not a point")
    return (x, y, 1)


def mac(key: bytes, message: bytes) -> bytes:
    if len(key) > 64:
        raise ValueError("longer keys are hashed first, which is not needed here")
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869."""
    pseudorandom = mac(salt, key)
    blocks = [b""]
    for count in range(1, -(-length // 32) + 1):
        blocks.append(mac(pseudorandom, blocks[-1] + info + bytes([count])))
    return b"".join(blocks)[:length]


@dataclass(frozen=True)
class Side:
    """What one side has at the end: everything that RFC 9383's vectors list."""

    transcript: bytes
    main: bytes
    confirm_key_p: bytes
    confirm_key_v: bytes
    confirm_p: bytes
    confirm_v: bytes
    shared: bytes


@dataclass(frozen=True)
class Names:
    context: bytes
    prover: bytes
    verifier: bytes


def share_p(w0: int, x: int) -> bytes:
    return written(plus(multiple(x, G), multiple(w0, M)))


def share_v(w0: int, y: int) -> bytes:
    return written(plus(multiple(y, G), multiple(w0, N)))


def prover(names: Names, w0: int, w1: int, x: int, answer: bytes) -> Side:
    point = plus(read(answer), minus(multiple(w0, N)))
    shares = (share_p(w0, x), answer)
    return concluded(names, w0, shares, (multiple(x, point), multiple(w1, point)))


def verifier(names: Names, w0: int, registered: bytes, y: int, asked: bytes) -> Side:
    point = plus(read(asked), minus(multiple(w0, M)))
    shares = (asked, share_v(w0, y))
    return concluded(names, w0, shares, (multiple(y, point), multiple(y, read(registered))))


def concluded(
    names: Names, w0: int, shares: tuple[bytes, bytes], secrets: tuple[Triple, Triple]
) -> Side:
    parts = [names.context, names.prover, names.verifier, written(M), written(N), *shares]
    parts += [*map(written, secrets), w0.to_bytes(32, "big")]
    transcript = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    main = hashlib.sha256(transcript).digest()
    keys = hkdf(main, b"", b"ConfirmationKeys", 64)
    return Side(
        transcript=transcript,
        main=main,
        confirm_key_p=keys[:32],
        confirm_key_v=keys[32:],
        confirm_p=mac(keys[:32], shares[1]),
        confirm_v=mac(keys[32:], shares[0]),
        shared=hkdf(main, b"", b"SharedKey", 32),
    )


def session_key(side: Side, context: bytes, shares: bytes, info: bytes, length: int) -> bytes:
    """Chargepin's own step: one key out of the shared one. shares: shareP || shareV."""
    return hkdf(side.shared, hashlib.sha256(context + shares).digest(), info, length)
