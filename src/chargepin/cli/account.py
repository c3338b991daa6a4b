"""Commands of the account: signup, login, chargers, claim, members, invite, accept, remove."""

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from chargepin.cli.app import home, inside, signed_in
from chargepin.cli.options import ChargerName, add, finish
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chargepin.app.account import AccountClient
    from chargepin.core.messages import ChargerView, Member

T = TypeVar("T")

USUAL_SERVICE = "http://127.0.0.1:8700"
_HERE = ("127.", "localhost:", "[::1]")
PersonName = Annotated[str, typer.Argument(metavar="PERSON", help="A name or mail address.")]
Service = Annotated[
    str, typer.Option("--account", envvar="CHARGEPIN_ACCOUNT", help="The service's address.")
]


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    for command in (signup, login, logout, chargers, claim, members, invite, accept, remove):
        add(app, command)


def signup(person: PersonName, account: Service = USUAL_SERVICE) -> None:
    """Make an account and sign this home in. The password is asked for, or piped."""
    _sign_in(person, account, new=True)


def login(person: PersonName, account: Service = USUAL_SERVICE) -> None:
    """Sign this home in. The password is asked for, or piped."""
    _sign_in(person, account, new=False)


def _sign_in(person: str, url: str, *, new: bool) -> None:
    where = url if "://" in url else f"{'http' if url.startswith(_HERE) else 'https'}://{url}"

    async def signing() -> None:
        from chargepin.app.account import sign_in
        from chargepin.core.messages import SHORTEST_PASSWORD

        password = await terminal().secret(f"Password for {person}: ")
        if new and len(password) < SHORTEST_PASSWORD:
            raise typer.BadParameter(f"a password has at least {SHORTEST_PASSWORD} characters")
        await sign_in(home(), where, person, password, new=new)

    finish(signing())
    terminal().result({"person": person, "account": where}, f"Signed in as {person}.")


def logout(
    others: Annotated[
        bool,
        typer.Option("--others", help="Sign all other places out instead, such as a lost phone."),
    ] = False,
) -> None:
    """End this home's session with its account."""

    async def ending(client: "AccountClient") -> int:
        if not others:
            await _logged_out(client)
            return 0
        elsewhere = [each.id for each in await client.sessions() if not each.current]
        for session_id in elsewhere:
            await client.end_session(session_id)
        return len(elsewhere)

    ended = _with_account(ending)
    if others:
        text = f"Signed out in {ended} other places. Here you are still signed in."
        terminal().result({"ended": ended}, text)
        return
    terminal().result({"done": True}, "Signed out. What this app remembers stays in its vault.")


async def _logged_out(client: "AccountClient") -> None:
    """Sign out here; that the service was not told is an error."""
    from chargepin.app.errors import AccountUnreachable

    try:
        await client.logout()
    except AccountUnreachable as error:
        raise AccountUnreachable(
            f"{error} Here you are signed out. Should it not have heard of that: `chargepin logout"
            " --others`, wherever you are signed in, ends it there."
        ) from error


def chargers() -> None:
    """List the chargers that this person has access to."""

    async def listing(client: "AccountClient") -> "list[ChargerView]":
        return list(await client.chargers())

    found = _with_account(listing)
    import msgspec

    lines = [
        f"WB{each.serial}  {each.role:<9} passcode {each.passcode_state}"
        + ("" if each.reached else "  (charger not reached yet)")
        for each in found
    ]
    terminal().result(msgspec.to_builtins(found), "\n".join(lines) or "No charger yet.")


def claim(charger: ChargerName) -> None:
    """Tie a charger to this person's account. Needs an owner's connection to it."""

    async def claiming() -> tuple[str, bool]:
        from chargepin.app.errors import AccountRefused
        from chargepin.core.identity import Claim

        async with inside(charger) as entered, signed_in() as client:
            if client is None:
                raise _signed_out()
            if entered.identity is None:
                raise AccountRefused(
                    f"{entered.name} runs {entered.software}, which cannot be claimed. Update it.",
                    refusal="update_needed",
                )
            asked = await client.challenge(entered.identity.hex())
            raw, signature = await entered.claim(asked.account, asked.root_key, asked.nonce)
            view = await client.register(Claim.decode(bytes.fromhex(raw)), signature)
            unshared = entered.passcode_state == "protected" and view.passcode_state == "none"
            return entered.name, unshared

    name, unshared = finish(claiming())
    text = f"{name} belongs to this account now."
    if unshared:
        text += (
            " The account does not know the passcode that was set before: run"
            f" `chargepin passcode rotate {name}` to share a new one with everyone."
        )
    terminal().result({"charger": name, "passcode_shared": not unshared}, text)


def members(charger: ChargerName) -> None:
    """List who has access to a charger."""

    async def listing(client: "AccountClient") -> "list[Member]":
        return list(await client.members(await _id_of(client, charger)))

    found = _with_account(listing)
    import msgspec

    lines = [f"{each.role:<9} {each.person}" for each in found]
    terminal().result(msgspec.to_builtins(found), "\n".join(lines))


def invite(
    charger: ChargerName,
    person: PersonName,
    role: Annotated[
        str,
        typer.Option(
            help="user, admin, guest (for a week) or installer; the last two get no passcode."
        ),
    ] = "user",
) -> None:
    """Invite somebody to a charger: prints a link that serves once."""

    async def inviting(client: "AccountClient") -> tuple[str, int]:
        made = await client.invite(await _id_of(client, charger), person, role)
        return made.link, made.expires_unix_s

    link, expires = _with_account(inviting)
    terminal().result(
        {"link": link, "expires_unix_s": expires},
        f"{link}\nGive this link to {person}; it serves once. They run: chargepin accept LINK",
    )


def accept(
    link: Annotated[str, typer.Argument(metavar="LINK", help="As `invite` printed it.")],
) -> None:
    """Accept an invitation."""

    async def accepting(client: "AccountClient") -> "ChargerView":
        return await client.accept(link)

    view = _with_account(accepting)
    terminal().result(
        {"charger": f"WB{view.serial}", "role": view.role},
        f"You have access to WB{view.serial} as {view.role}.",
    )


def remove(charger: ChargerName, person: PersonName) -> None:
    """Take somebody's access away. Rotate the passcode afterwards: their phone still gets in."""

    async def removing(client: "AccountClient") -> None:
        await client.remove(await _id_of(client, charger), person)

    _with_account(removing)
    from chargepin.core.catalogue import name_of

    terminal().result(
        {"removed": person, "rotation_needed": True},
        f"{person} has no access any more and gets no new passcode. They may remember the old"
        " one, and the charger knows their phone: run `chargepin passcode rotate"
        f" {name_of(charger)} --forget-others` near the charger. Everybody else's app gets the new"
        " one by itself.",
    )


def _with_account(work: "Callable[[AccountClient], Awaitable[T]]") -> T:
    """Do something with the account that this home is signed in to."""

    async def doing() -> T:
        async with signed_in() as client:
            if client is None:
                raise _signed_out()
            return await work(client)

    return finish(doing())


def _signed_out() -> Exception:
    from chargepin.app.errors import AccountRefused

    return AccountRefused(
        "This home is not signed in. Run `chargepin login PERSON` first.", refusal="not_signed_in"
    )


async def _id_of(client: "AccountClient", charger: str) -> str:
    from chargepin.app.errors import AccountRefused
    from chargepin.core.catalogue import name_of, serial_of

    serial = serial_of(charger)
    found = await client.charger_id(serial)
    if found is None:
        raise AccountRefused(
            f"This account has no access to {name_of(serial)}.", refusal="not_found"
        )
    return found
