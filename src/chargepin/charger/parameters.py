"""What the passcode methods are given: the shape of each one's parameters, and their bounds."""

from typing import Annotated

import msgspec

_Salt = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Verifier = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{194}\Z")]
_BondId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]


class SetParameters(msgspec.Struct, frozen=True):
    """verifier: w0 || L in hex. generation: the one to set, one more than the charger's."""

    generation: int
    verifier: _Verifier
    salt: _Salt
    profile: int
    owner_token_hash: _Hash | None = None


class RotateParameters(SetParameters, frozen=True):
    """keep: ids of the bonds that live on; None keeps them all, a revocation names them."""

    keep: list[_BondId] | None = None


class BondParameters(msgspec.Struct, frozen=True):
    name: str
    owner_token: _Hash | None = None
    role: str | None = None


class ForgetParameters(msgspec.Struct, frozen=True):
    id: _BondId


class PairingParameters(msgspec.Struct, frozen=True):
    """name: what the phone that pairs shall be called, in lists."""

    name: str = ""


class PageParameters(msgspec.Struct, frozen=True):
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


class ViewedParameters(msgspec.Struct, frozen=True):
    """times: how often the app showed the passcode since it last said so."""

    times: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class ClaimParameters(msgspec.Struct, frozen=True):
    account: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,64}\Z")]
    root_key: _Hash
    nonce: _Hash


class VersionParameters(msgspec.Struct, frozen=True):
    version: str | None = None
