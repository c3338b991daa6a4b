"""Who somebody is: signing up, in and out."""

import hashlib
import secrets
from typing import Final

from chargepin.account.limits import Limiter
from chargepin.account.names import normal_person
from chargepin.account.passwords import Passwords
from chargepin.account.ports import (
    Account,
    Caller,
    Change,
    Clock,
    Record,
    Refused,
    Session,
    Store,
    settled,
)
from chargepin.core.messages import (
    Credentials,
    Done,
    Me,
    ProblemCode,
    Sessions,
    SessionView,
    SignedIn,
)

SESSION_S: Final = 365 * 24 * 3600
_FAILURES = 10
_FAILURES_WINDOW_S = 900.0


class People:
    """Accounts, passwords and sessions."""

    def __init__(self, store: Store, passwords: Passwords, clock: Clock) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._failures = Limiter(
            "failed sign-ins for this person",
            times=_FAILURES,
            window_s=_FAILURES_WINDOW_S,
            running_s=clock.running_s,
        )

    async def sign_up(self, credentials: Credentials, app: str) -> SignedIn:
        person = normal_person(credentials.person)
        await self._expect_free(person)
        account = Account(
            account_id=secrets.token_hex(16),
            person=person,
            created_unix_s=self._clock.unix_s(),
            password=await self._passwords.hashed(credentials.password),
        )
        token, session = self._new_session(account, app)

        async def attempt() -> None:
            await self._expect_free(person)
            await self._store.commit(
                Change(
                    self._clock.now(),
                    new_account=account,
                    new_session=session,
                    records=(_record(session, "signed_up"),),
                )
            )

        await settled(attempt)
        return SignedIn(token, person, account.account_id, session.session_id)

    async def sign_in(self, credentials: Credentials, app: str) -> SignedIn:
        """An unknown person and a wrong password look, and take, the same."""
        person = normal_person(credentials.person)
        self._failures.count(person)
        account = await self._store.account(person)
        try:
            fits = await self._passwords.fits(
                credentials.password, account.password if account else None
            )
        except Refused:
            self._failures.give_back(person)  # nothing was tried
            raise
        if account is None or not fits:
            raise Refused(
                ProblemCode.WRONG_PASSWORD, "There is no such person, or the password is another."
            )
        self._failures.give_back(person)
        token, session = self._new_session(account, app)
        await self._store.commit(
            Change(self._clock.now(), new_session=session, records=(_record(session, "signed_in"),))
        )
        return SignedIn(token, person, account.account_id, session.session_id)

    async def session(self, token: str) -> Session:
        """The session that a token stands for. Raises Refused."""
        session = await self._store.session(_hash(token))
        if session is None or session.expires_unix_s <= self._clock.unix_s():
            raise Refused(ProblemCode.NOT_SIGNED_IN, "Sign in first: this sign-in has ended.")
        return session

    async def sign_out(self, caller: Caller) -> Done:
        await self._end(caller.session, caller)
        return Done()

    async def me(self, caller: Caller) -> Me:
        account = await self._store.account(caller.person)
        if account is None:
            raise Refused(ProblemCode.NOT_SIGNED_IN, "This account is gone.")
        return Me(account.person, account.account_id, account.created_unix_s)

    async def sessions(self, caller: Caller) -> Sessions:
        now_s = self._clock.unix_s()
        return Sessions(
            [
                SessionView(
                    id=session.session_id,
                    created_unix_s=session.created_unix_s,
                    expires_unix_s=session.expires_unix_s,
                    app=session.app,
                    current=session.session_id == caller.session.session_id,
                )
                for session in await self._store.sessions(caller.account_id)
                if session.expires_unix_s > now_s
            ]
        )

    async def end_session(self, caller: Caller, session_id: str) -> Done:
        for session in await self._store.sessions(caller.account_id):
            if session.session_id == session_id:
                await self._end(session, caller)
                return Done()
        raise Refused(ProblemCode.NOT_FOUND, "You are not signed in there.")

    async def _end(self, session: Session, caller: Caller) -> None:
        await self._store.commit(
            Change(
                self._clock.now(),
                ended_session=session,
                records=(_record(caller.session, "signed_out", ended=session.session_id),),
            )
        )

    async def _expect_free(self, person: str) -> None:
        if await self._store.account(person) is not None:
            raise Refused(
                ProblemCode.NAME_TAKEN, "Somebody has signed up with this name already. Sign in."
            )

    def _new_session(self, account: Account, app: str) -> tuple[str, Session]:
        token = secrets.token_urlsafe(32)
        now_s = self._clock.unix_s()
        session = Session(
            account_id=account.account_id,
            person=account.person,
            session_id=secrets.token_hex(8),
            app=app,
            created_unix_s=now_s,
            expires_unix_s=now_s + SESSION_S,
            token_hash=_hash(token),
        )
        return token, session


def _hash(token: str) -> bytes:
    # Nothing slower is needed for a secret of 256 bits.
    return hashlib.sha256(token.encode()).digest()


def _record(session: Session, event: str, **more: str) -> Record:
    return Record(
        session.account_id,
        event,
        {"person": session.person, "session": session.session_id, "app": session.app, **more},
    )
