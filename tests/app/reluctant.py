"""A charger that answers late, or not at all: what its service sends is kept before the air."""

from typing import Any

from chargepin.charger.air import Air, Door


class Reluctant:
    """Stands before an `Air`: the next reply can be held back, or all be swallowed."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self.holding = False
        self.mute = False
        self.kept: list[tuple[int, Door, bytes]] = []

    def send(self, link: int, door: Door, message: bytes) -> None:
        if not self.holding and not self.mute:
            self._air.send(link, door, message)
            return
        self.kept.append((link, door, message))
        self.holding = False

    def release(self) -> None:
        for each in self.kept:
            self._air.send(*each)
        self.kept.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._air, name)
