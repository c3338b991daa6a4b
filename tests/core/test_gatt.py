import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.gatt import (
    PASSCODE_CHARACTERISTICS,
    PASSCODE_HINT,
    PASSCODE_NOTIFY,
    PASSCODE_SERVICE,
    PASSCODE_WRITE,
    Advertised,
    Layout,
    Property,
    advertising,
    layout_named,
    layout_of,
    parse_advertising,
)

FLAGS = "020106"
BGX_SERVICE = "1107" + "07b3c4f04261959dea455924f5361a33"
PASSCODE_UUIDS = "1107" + "41d9473ab3b9fe87c247e11501001af6"
WB123456 = "0909" + b"WB123456".hex()

layouts = st.sampled_from(Layout)
names = st.from_regex(r"WB[0-9]{1,9}", fullmatch=True)


def test_a_usual_charger_fills_its_advertisement() -> None:
    advert, response = advertising(Layout.BGX, "WB123456", passcode=True)
    assert advert.hex() == FLAGS + BGX_SERVICE + WB123456
    assert len(advert) == 31
    assert response.hex() == PASSCODE_UUIDS


def test_a_longer_name_goes_into_the_scan_response() -> None:
    advert, response = advertising(Layout.BGX, "WB1234567", passcode=True)
    assert advert.hex() == FLAGS + BGX_SERVICE
    assert response.hex() == PASSCODE_UUIDS + "0a09" + b"WB1234567".hex()


def test_old_software_has_no_passcode_service_to_show() -> None:
    assert advertising(Layout.UBLOX, "WB123456", passcode=False)[1] == b""


@pytest.mark.parametrize("name", ["", "WB12\n", "WBé", "WB1234567890"])
def test_names_that_cannot_be_advertised(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        advertising(Layout.BGX, name, passcode=True)


@given(layouts, names, st.booleans())
def test_a_listener_hears_what_was_said(layout: Layout, name: str, passcode: bool) -> None:  # noqa: FBT001  # drawn by Hypothesis
    advert, response = advertising(layout, name, passcode=passcode)
    assert max(len(advert), len(response)) <= 31
    heard = parse_advertising(advert, response)
    assert heard.name == name
    assert heard.services == {layout.stock.uuid} | ({PASSCODE_SERVICE} if passcode else set())


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_noise_is_heard_without_complaint(advert: bytes, response: bytes) -> None:
    assert isinstance(parse_advertising(advert, response), Advertised)


def test_short_uuids_and_short_names() -> None:
    heard = parse_advertising(bytes.fromhex("05030a180f180508aabb180a03085742"))
    assert heard.name == "WB"
    assert heard.services == {
        "0000180a-0000-1000-8000-00805f9b34fb",
        "0000180f-0000-1000-8000-00805f9b34fb",
    }
    four_bytes = parse_advertising(bytes.fromhex("050578563412"))
    assert four_bytes.services == {"12345678-0000-1000-8000-00805f9b34fb"}


def test_the_full_name_wins_over_the_short_one() -> None:
    full, short = bytes.fromhex(WB123456), bytes.fromhex("03085742")
    assert parse_advertising(full, short).name == "WB123456"
    assert parse_advertising(short, full).name == "WB123456"


@pytest.mark.parametrize("tail", ["00" + WB123456, "ff", "0a09" + b"WB".hex(), "02ff00"])
def test_a_malformed_tail_takes_nothing_away(tail: str) -> None:
    heard = parse_advertising(bytes.fromhex(BGX_SERVICE + tail))
    assert heard == Advertised("", frozenset({Layout.BGX.stock.uuid}))


@given(layouts)
def test_the_layout_is_told_by_characteristics(layout: Layout) -> None:
    uuids = [each.uuid for each in layout.stock.characteristics]
    assert layout_of(uuids) is layout
    assert layout_of(uuid.upper() for uuid in uuids) is layout
    assert len(set(uuids)) == len(uuids)


def test_a_layout_has_a_name() -> None:
    assert {layout_named(layout.value) for layout in Layout} == set(Layout)
    with pytest.raises(ValueError, match="there are bgx, ublox, zentri"):
        layout_named("nrf52")


def test_no_layout_without_both_directions() -> None:
    assert layout_of([]) is None
    assert layout_of([Layout.BGX.stock.write.uuid]) is None
    assert layout_of(each.uuid for each in PASSCODE_CHARACTERISTICS) is None


def test_what_each_direction_can_do() -> None:
    for layout in Layout:
        assert Property.WRITE in layout.stock.write.properties
        assert Property.NOTIFY in layout.stock.notify.properties
    assert len(Layout.UBLOX.stock.characteristics) == 2
    assert len(Layout.BGX.stock.characteristics) == 3
    assert not Layout.ZENTRI.stock.needs_encryption


def test_the_passcode_service() -> None:
    assert PASSCODE_WRITE.properties == Property.WRITE | Property.WRITE_WITHOUT_RESPONSE
    assert PASSCODE_NOTIFY.properties == Property.NOTIFY
    assert PASSCODE_HINT.properties == Property.READ
