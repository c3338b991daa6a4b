"""What is given to a Bluetooth pairing, and what never is."""

import pytest

from chargepin.app.codes import NO_GENERATION, Codes
from chargepin.app.errors import Cancelled
from chargepin.app.ports import Candidate, Known
from ends import SERIAL, Answers, MemoryVault

OURS = Candidate(1, bytes(16), "482913")
PENDING = Candidate(1, bytes(16), "482913", "pending")
MAKERS = Candidate(NO_GENERATION, b"", "271828")
NAME = f"WB{SERIAL}"


def vault_with(*candidates: Candidate, identity: bytes | None = None) -> MemoryVault:
    vault = MemoryVault()
    vault.put(Known(SERIAL, identity=identity, candidates=candidates))
    return vault


@pytest.mark.parametrize(
    "vault",
    [
        vault_with(OURS, identity=bytes(32)),
        vault_with(OURS, MAKERS, identity=bytes(32)),
        vault_with(PENDING),
    ],
)
async def test_a_passcode_of_ours_is_never_given(vault: MemoryVault) -> None:
    assert not Codes(vault, None).any
    with pytest.raises(Cancelled):
        await Codes(vault, None).ask(NAME)
    answers = Answers(["314159"])
    assert await Codes(vault, answers).ask(NAME) == 314_159
    assert "never a passcode that chargepin assigned" in answers.said[0]


async def test_one_of_the_makers_is_given_once_then_the_person_is_asked() -> None:
    answers = Answers(["314159"])
    codes = Codes(vault_with(MAKERS, PENDING), answers)
    assert (await codes.ask(NAME), await codes.ask(NAME)) == (271_828, 314_159)
