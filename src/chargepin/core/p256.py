"""Points of the curve P-256 (SEC 2 section 2.4.2, secp256r1), as much as SPAKE2+ needs.

OpenSSL does every multiplication, in constant time; Python adds points and restores y
coordinates. With a secret scalar Python does nothing but count it up by one.
"""

from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

PRIME: Final = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
POINT_BYTES: Final = 65

_A: Final = PRIME - 3
_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_CURVE: Final = ec.SECP256R1()
_UNCOMPRESSED: Final = b"\x04"


class Point(NamedTuple):
    """A point of the curve. The point at infinity is None instead."""

    x: int
    y: int


def encoded(point: Point) -> bytes:
    """Write a point uncompressed: 04, x, y."""
    return _UNCOMPRESSED + point.x.to_bytes(32) + point.y.to_bytes(32)


def decoded(raw: bytes) -> Point | None:
    """Read an uncompressed point; None if that is not one of the curve."""
    if len(raw) != POINT_BYTES or not raw.startswith(_UNCOMPRESSED):
        return None
    try:
        numbers = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, raw).public_numbers()
    except ValueError:
        return None
    return Point(numbers.x, numbers.y)


def opposite(point: Point) -> Point:
    """Give the point that cancels this one out."""
    return Point(point.x, PRIME - point.y)


def added(one: Point, other: Point) -> Point | None:
    """Add two points; None for the point at infinity."""
    if one == other:
        slope = (3 * one.x * one.x + _A) * _inverse(2 * one.y)
    elif one.x == other.x:
        return None
    else:
        slope = (other.y - one.y) * _inverse(other.x - one.x)
    x = (slope * slope - one.x - other.x) % PRIME
    return Point(x, (slope * (one.x - x) - one.y) % PRIME)


def times_base(scalar: int) -> Point:
    """Multiply the base point. scalar: 1..ORDER-1."""
    numbers = ec.derive_private_key(scalar, _CURVE).public_key().public_numbers()
    return Point(numbers.x, numbers.y)


def times(scalar: int, point: Point) -> Point:
    """Multiply any point. scalar: 1..ORDER-1.

    ECDH gives only the x coordinate of a product. Together with x of the next multiple it fixes y
    (Brier and Joye, "Weierstrass elliptic curves and side-channel attacks", 2002, section 4).
    """
    if scalar == ORDER - 1:  # the next multiple would be the point at infinity
        return opposite(point)
    public = ec.EllipticCurvePublicNumbers(point.x, point.y, _CURVE).public_key()
    x, next_x = (
        int.from_bytes(ec.derive_private_key(factor, _CURVE).exchange(ec.ECDH(), public))
        for factor in (scalar, scalar + 1)
    )
    both = 2 * _B + (_A + point.x * x) * (point.x + x) - next_x * (point.x - x) ** 2
    return Point(x, both * _inverse(2 * point.y) % PRIME)


def _inverse(value: int) -> int:
    # Fermat's way, not Euclid's: the number of Euclid's steps would tell of the value.
    return pow(value, PRIME - 2, PRIME)
