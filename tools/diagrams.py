"""Write docs/diagrams.md: the state machines, drawn from the tables that they obey.

Run it when TRANSITIONS in core/guard.py or core/entry.py change.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from chargepin.core import entry, guard
from chargepin.core.entry import Stage
from chargepin.core.guard_state import Phase

PATH = Path(__file__).parent.parent / "docs" / "diagrams.md"

State = TypeVar("State", bound=Enum)

DOCUMENT = """\
# State machines

Drawn by `tools/diagrams.py` from the tables that the programs obey: `TRANSITIONS` in
`src/chargepin/core/guard.py` and `src/chargepin/core/entry.py`. What is not drawn does not happen.

## The charger: one link

Each event is of this link. One that has no arrow from where the link is, is a breach of the
protocol: the link is hung up, and nothing more is taken from it (*closed*). A link is closed, too,
by what happens elsewhere: the passcode changes, the charger is reset, its bond is forgotten.

```mermaid
{guard}
```

- *locked*: connected, or refused and free to greet again.
- *greeted*: told the charger's parameters.
- *proving*: in the handshake; a passcode's attempt is charged and stored.
- *granted*: in a session. A command that changes the passcode closes every link, this one too.

## The app: one way in

An event without an arrow is an error of the program (`OutOfTurn`), since the app takes events only
of what it asked for.

```mermaid
{entry}
```

- *greeting*: HELLO was said, by bond, by passcode or to an open charger.
- *fetching*, *asking*: of the account, of a person. While a person types the app is not connected.
- *ended*: with one reason, which becomes one exception.
"""


def edges(table: Mapping[tuple[State, type], Iterable[State]], order: list[State]) -> Iterable[str]:
    """One arrow for each change, with every event that makes it."""
    events: dict[tuple[State, State], list[str]] = {}
    for (source, event), targets in table.items():
        for target in targets:
            events.setdefault((source, target), []).append(event.__name__)
    drawn = sorted(events, key=lambda pair: [order.index(state) for state in pair])
    for source, target in drawn:
        yield f"    {source.value} --> {target.value}: {' or '.join(events[source, target])}"


def diagram(
    table: Mapping[tuple[State, type], Iterable[State]],
    states: type[State],
    first: str,
    last: Iterable[str],
) -> str:
    """Draw a Mermaid state diagram. first, last: arrows from and to the outside."""
    lines = ["stateDiagram-v2", f"    [*] --> {first}", *edges(table, list(states))]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in last)])


def document() -> str:
    """Give the whole of docs/diagrams.md."""
    return DOCUMENT.format(
        guard=diagram(guard.TRANSITIONS, Phase, "locked: LinkOpened", ["closed"]),
        entry=diagram(entry.TRANSITIONS, Stage, "reaching", ["inside", "ended"]),
    )


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
