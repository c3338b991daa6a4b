import msgspec
import pytest

from chargepin.core.decoding import Undecodable, decoded


class Thing(msgspec.Struct):
    number: int
    text: str = ""


def test_what_is_well_formed_is_read() -> None:
    assert decoded(b'{"number":1,"other":[]}', Thing) == Thing(1)
    assert decoded('{"number":1}', Thing) == Thing(1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"number":"1"}',
        b'{"number":1}{}',
        b'{"number":1,"text":"\xff"}',
        '{"number":1,"text":"\ud800"}',
        b'{"number":1,"other":' + b"[" * 5000,
        None,
        7,
        bytearray(b'{"number":1}'),
    ],
)
def test_everything_else_is_one_error_that_repeats_nothing(raw: object) -> None:
    with pytest.raises(Undecodable) as caught:
        decoded(raw, Thing)
    assert str(caught.value) in {"no JSON", "not the JSON that was expected"}
    assert caught.value.__cause__ is None
