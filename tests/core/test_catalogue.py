import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.catalogue import (
    FAMILIES,
    PASSCODE_SINCE,
    Evidence,
    Version,
    family_of,
    family_of_project,
    name_of,
    serial_of,
    supports_passcode,
)

parts = st.integers(0, 0xFFFF)
versions = st.builds(Version, parts, parts, parts)


def test_versions_compare_as_numbers() -> None:
    in_order = ["5.17.0", "6.1.12", "6.7.9", "6.7.10", "6.7.17", "6.7.38", "6.11.16", "6.13.3"]
    assert [str(v) for v in sorted(map(Version.parse, reversed(in_order)))] == in_order


@given(versions)
def test_a_version_survives_text_and_wire(version: Version) -> None:
    assert Version.parse(str(version)) == version
    assert Version.decode(version.encode()) == version


@given(versions, versions)
def test_the_wire_orders_as_versions_do(one: Version, other: Version) -> None:
    assert (one < other) == (one.encode() < other.encode())


@pytest.mark.parametrize(
    "text",
    ["", "6", "6.7", "6.7.17.1", "v6.7.17", "6.07.17", "6.7.17 ", "6.7.-1", "6.7.1\u0667",
     "6.7.65536", "6.7.999999", "375", "6..7", "6.7.17\n"],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        Version.parse(text)


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, 0x10000, 0), (0, 0, -5)])
def test_parts_out_of_range(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.65535"):
        Version(*wrong)


@pytest.mark.parametrize("length", [0, 5, 7])
def test_a_version_on_the_air_has_six_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="6 bytes"):
        Version.decode(bytes(length))


@pytest.mark.parametrize(
    ("text", "known"),
    [("6.7.16", False), ("6.7.17", True), ("6.7.9", False), ("6.11.0", True), ("7.0.0", True)],
)
def test_the_version_decides_on_the_passcode(text: str, *, known: bool) -> None:
    assert supports_passcode(Version.parse(text)) is known


def test_passcode_since() -> None:
    assert str(PASSCODE_SINCE) == "6.7.17"


def test_the_nine_families() -> None:
    assert list(FAMILIES) == [
        "pulsar-max", "pulsar-pro", "pulsar-plus", "pulsar-plus-socket", "commander-2",
        "commander-2s", "copper-sb", "em4-single", "em4-twin",
    ]  # fmt: skip
    for key, family in FAMILIES.items():
        assert family_of(key) is family
        assert family.why
        assert family.phases in {1, 3}
        assert family.max_current_a == 32
        for code in family.project_codes:
            assert family_of_project(code) is family
        seen = family.evidence is Evidence.SEEN
        assert seen == family.project_code.startswith("prj")
        assert {each.project_code for each in family.seen} - {""} == (
            set(family.project_codes) if seen else set()
        )


def test_who_has_published_nothing() -> None:
    unseen = {key for key, family in FAMILIES.items() if family.evidence is not Evidence.SEEN}
    assert unseen == {
        "pulsar-plus-socket", "commander-2", "commander-2s", "em4-single", "em4-twin",
    }  # fmt: skip


def test_an_unknown_family() -> None:
    with pytest.raises(ValueError, match="pulsar-plus, "):
        family_of("quasar")
    assert family_of_project("prj99-future") is None


@pytest.mark.parametrize("text", ["WB123456", "123456", "wb123456", " WB123456\n"])
def test_a_serial_with_or_without_its_prefix(text: str) -> None:
    assert serial_of(text) == "123456"
    assert name_of(text) == "WB123456"


def test_leading_zeros_of_a_serial_are_kept() -> None:
    assert serial_of("WB000042") == "000042"


@pytest.mark.parametrize(
    "text", ["", "WB", "WB12345x", "XB123456", "1234567890", "WB\u0661", "--1"]
)
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(ValueError, match="serial"):
        serial_of(text)


@pytest.mark.parametrize(
    ("text", "what"), [("eWB12345", "EasyWallbox"), ("BGX-1A2B", "nobody has set up")]
)
def test_what_has_the_same_radio_and_is_no_charger(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        serial_of(text)
