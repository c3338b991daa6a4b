"""What waits for the charger's one task."""

from chargepin.charger.air import (
    Door,
    LinkAuthenticated,
    LinkClosed,
    LinkEnd,
    LinkOpened,
    Written,
)
from chargepin.charger.inbox import STOCK_WAITING_BYTES, WRITES_WAITING, Inbox, Item, Timer


async def taken(inbox: Inbox, count: int) -> list[object]:
    return [await inbox.take() for _ in range(count)]


async def test_pieces_of_a_request_are_one_item() -> None:
    dropped: list[int] = []
    inbox = Inbox(dropped.append)
    for piece in range(100):
        inbox.put(Written(1, Door.STOCK, bytes([piece])))
        inbox.put(Written(2, Door.STOCK, b"x"))
    assert await taken(inbox, 2) == [
        Written(1, Door.STOCK, bytes(range(100))),
        Written(2, Door.STOCK, b"x" * 100),
    ]
    inbox.put(Written(1, Door.STOCK, b"next"))
    assert await taken(inbox, 1) == [Written(1, Door.STOCK, b"next")]
    assert not dropped


async def test_nothing_of_a_link_overtakes_what_it_did_before() -> None:
    inbox = Inbox(lambda _: None)
    events: list[Item] = [
        LinkOpened(1, "F0:00:00:00:00:01", bytes(8)),
        Written(1, Door.STOCK, b"before"),
        LinkAuthenticated(1),
        Written(1, Door.STOCK, b"after"),
        Written(1, Door.OWN, b"own"),
        Timer(),
        Written(1, Door.STOCK, b"last"),
        LinkClosed(1, LinkEnd.LOST),
    ]
    for event in events:
        inbox.put(event)
    assert await taken(inbox, len(events)) == events


async def test_a_flood_drops_its_link_and_no_other() -> None:
    dropped: list[int] = []
    inbox = Inbox(dropped.append)
    for _ in range(WRITES_WAITING):
        inbox.put(Written(1, Door.OWN, b"x"))
    assert not dropped
    inbox.put(Written(1, Door.OWN, b"x"))
    inbox.put(Written(2, Door.OWN, b"x"))
    assert dropped == [1]
    inbox.put(Written(3, Door.STOCK, bytes(STOCK_WAITING_BYTES)))
    inbox.put(Written(2, Door.STOCK, b"x"))
    assert dropped == [1]
    inbox.put(Written(3, Door.STOCK, b"x"))
    assert dropped == [1, 3]


async def test_what_is_taken_makes_room() -> None:
    dropped: list[int] = []
    inbox = Inbox(dropped.append)
    for _ in range(3):
        inbox.put(Written(1, Door.STOCK, bytes(STOCK_WAITING_BYTES)))
        for _ in range(WRITES_WAITING):
            inbox.put(Written(1, Door.OWN, b"x"))
        await taken(inbox, WRITES_WAITING + 1)
    assert not dropped
