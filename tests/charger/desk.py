"""A charger on a desk, without radio: what goes in is a frame, what comes out a reply."""

from pathlib import Path
from typing import Any

from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.ports import HardwareState
from chargepin.charger.stock import Action, StockMethods, StockSettings, TypePlate
from chargepin.charger.update import ShippedImages, Updater
from chargepin.core.bapi import (
    Refused,
    Reply,
    ReplyAssembler,
    RequestAssembler,
    decode_reply,
    decode_request,
    encode_request,
)
from chargepin.core.catalogue import FAMILIES, Family, Version
from chargepin.core.gatt import Layout

MAX = FAMILIES["pulsar-max"]
PLUS = FAMILIES["pulsar-plus"]
NEW = Version(6, 7, 17)
UNIX_S = 1_800_000_000  # a Friday, 08:00
NO_METHOD = Refused(1, "No dispatch method found")


class Charger:
    """kept: its settings. now_s: running time, moved by the test."""

    def __init__(
        self,
        directory: Path,
        family: Family = MAX,
        software: Version = NEW,
        kept: StockSettings | None = None,
        layout: Layout | None = None,
    ) -> None:
        images = ShippedImages()
        updates = Updater(directory, family, software, images, images.maker_key, pace_s=0)
        self.updates = updates
        self.hardware = SimulatedHardware(family, HardwareState(), 0.0, UNIX_S)
        self.stock = StockMethods(
            TypePlate("123456", family, software, layout or family.layout),
            self.hardware,
            updates,
            kept or StockSettings(),
        )
        self.now_s = 0.0
        self.action: Action | None = None

    def ask(self, method: str, par: object = None) -> Reply:
        (raw,) = RequestAssembler().feed(encode_request(method, par, 7))
        reply, self.action = self.stock.answer(decode_request(raw), self.now_s, UNIX_S)
        assert ReplyAssembler().feed(reply) == [reply]
        decoded = decode_reply(reply)
        assert decoded.id == 7
        return decoded

    def value(self, method: str, par: object = None) -> Any:
        reply = self.ask(method, par)
        assert reply.error is None, reply.error
        return reply.value

    def error(self, method: str, par: object = None) -> Refused:
        reply = self.ask(method, par)
        assert reply.error is not None
        return reply.error
