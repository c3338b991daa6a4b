"""How people are called."""

import unicodedata

from chargepin.account.ports import Refused
from chargepin.core.messages import ProblemCode


def normal_person(text: str) -> str:
    """One spelling for each person: compatibility forms, case and white space don't matter.

    Raises Refused for what is no name: fewer than 2 characters, none of them a letter or digit,
    or a slash or anything invisible, since names stand in addresses and logs.
    """
    person = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    person = unicodedata.normalize("NFKC", person)
    plain = person.isprintable() and "/" not in person and any(map(str.isalnum, person))
    if not plain or not 2 <= len(person) <= 254:  # noqa: PLR2004 -- the lengths that messages allow
        raise Refused(
            ProblemCode.MALFORMED, "A person is an e-mail address or a name, without slashes."
        )
    return person
