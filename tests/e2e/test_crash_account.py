"""An account service that is killed at any write: each change is there once, or can be redone."""

import shutil

import pytest

from account.world import PASSWORD, new_unit
from chargepin.app.account import AccountClient, SignIn
from chargepin.app.errors import AccountRefused, AccountUnreachable
from chargepin.app.ports import Candidate
from chargepin.core.identity import Claim
from chargepin.core.messages import KeptPasscode, PasscodeState
from e2e.cutting import MOST_POINTS, Scene, account_service
from e2e.programs import Child


class Paper:
    """What a test does with an account service, step by step; each may be repeated."""

    def __init__(self) -> None:
        self.unit = new_unit()
        self.link = ""
        self.kept: Candidate | None = None
        self.tokens: dict[str, SignIn] = {}

    def client(self, address: str, person: str) -> AccountClient:
        url = f"http://{address}"
        signed_in = self.tokens.get(person)
        sign_in = None if signed_in is None else SignIn(url, person, signed_in.token)
        return AccountClient(url, sign_in=sign_in)

    async def signup(self, owner: AccountClient, _: AccountClient) -> None:
        try:
            self.tokens["owner"] = await owner.enter("owner", PASSWORD, new=True)
        except AccountRefused:  # it was made before the service died
            self.tokens["owner"] = await owner.enter("owner", PASSWORD, new=False)

    async def claim(self, owner: AccountClient, _: AccountClient) -> None:
        asked = await owner.challenge(self.unit.id)
        told = {"account": asked.account, "root_key": asked.root_key, "nonce": asked.nonce}
        signed = self.unit.claim(told)
        claim = Claim(
            bytes.fromhex(self.unit.id),
            self.unit.serial,
            1,
            0,
            asked.account,
            bytes.fromhex(asked.root_key),
            bytes.fromhex(asked.nonce),
        )
        await owner.register(claim, signed["signature"])

    async def invite(self, owner: AccountClient, _: AccountClient) -> None:
        self.link = (await owner.invite(self.unit.id, "second")).link

    async def accept(self, _: AccountClient, second: AccountClient) -> None:
        if self.unit.id not in [view.id for view in await second.chargers()]:
            await second.accept(self.link)

    async def assign(self, owner: AccountClient, _: AccountClient) -> None:
        drawn = await owner.assign(self.unit.id, 0)
        assert self.kept in (None, drawn)  # a pending passcode never changes
        self.kept = drawn

    async def receipt(self, owner: AccountClient, _: AccountClient) -> None:
        assert self.kept is not None
        signed = self.unit.receipt(
            KeptPasscode(1, self.kept.salt.hex(), 1, self.kept.passcode, PasscodeState.PENDING)
        )
        await owner.deliver(self.unit.id, signed["receipt"], signed["signature"])

    async def remove(self, owner: AccountClient, _: AccountClient) -> None:
        if "second" in [member.person for member in await owner.members(self.unit.id)]:
            await owner.remove(self.unit.id, "second")


STEPS = ("signup", "claim", "invite", "accept", "assign", "receipt", "remove")


async def test_the_account_service_may_be_killed_at_every_write(on: Scene) -> None:
    files, saved, paper = on.directory / "account", on.directory / "saved", Paper()
    service = await (await account_service(on)).ready()
    second = paper.client(service.listen, "second")
    paper.tokens["second"] = await second.enter("second", PASSWORD, new=True)
    await second.close()
    await service.kill()
    for step in STEPS:
        shutil.copytree(files, saved)
        for number in range(1, MOST_POINTS):
            shutil.rmtree(files)
            shutil.copytree(saved, files)
            if step == "assign":
                paper.kept = None
            service = await (await account_service(on)).ready()
            await service.arm(f"kill {number}")
            told = await one_step(paper, service, step)
            point = await service.broken_at()
            if point is None:
                assert told is None
                await service.kill()
                break
            await service.gone()
            assert told is not None or point.startswith("after"), (step, point)
            service = await (await account_service(on)).ready()
            assert await one_step(paper, service, step) is None, (step, number)
            await agrees(paper, service, step)
            await service.kill()
        assert number >= 3, step
        shutil.rmtree(saved)


async def one_step(paper: Paper, service: Child, step: str) -> AccountUnreachable | None:
    """Do one step; gives the error that the app was told if the service died under it."""
    owner, second = (paper.client(service.listen, who) for who in ("owner", "second"))
    try:
        await getattr(paper, step)(owner, second)
    except AccountUnreachable as error:
        return error
    finally:
        await owner.close()
        await second.close()
    return None


async def agrees(paper: Paper, service: Child, step: str) -> None:
    """Everything of the step is there, once; reading the audit verifies its chain."""
    owner, second = (paper.client(service.listen, who) for who in ("owner", "second"))
    done = STEPS.index(step)
    if done >= STEPS.index("claim"):
        events = [entry.event for entry in (await owner.audit(paper.unit.id)).entries]
        assert events.count("charger_claimed") == 1
        assert events.count("passcode_assigned") == (done >= STEPS.index("assign"))
        assert events.count("passcode_active") == (done >= STEPS.index("receipt"))
    has_access = STEPS.index("accept") <= done < STEPS.index("remove")
    assert len(await second.chargers()) == has_access
    if done >= STEPS.index("assign"):
        (kept,) = await owner.passcodes(paper.unit.id)
        assert paper.kept is not None
        assert kept.passcode == paper.kept.passcode
        state = "active" if done >= STEPS.index("receipt") else "pending"
        assert kept.state == state
        assert len(await second.passcodes(paper.unit.id)) == has_access
    await owner.close()
    await second.close()


async def test_the_first_start_of_the_account_service_may_be_cut_off_anywhere(on: Scene) -> None:
    for number in range(1, MOST_POINTS):
        service = await account_service(on, arm=f"kill {number}")
        said = await service.line()
        if "ready" in said:
            assert number >= 3
            return
        assert said.startswith("at "), on.programs.log
        await service.gone()
    pytest.fail("there is no end of points")
