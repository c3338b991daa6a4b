from pathlib import Path

import pytest

from chargepin.app.home import home_of

OWN, NAMED, DATA = Path("/own"), "/named", "/data"


@pytest.mark.parametrize(
    ("given", "named", "data", "expected"),
    [
        (OWN, NAMED, DATA, (OWN, False)),
        (None, NAMED, DATA, (Path(NAMED), False)),
        (None, "", DATA, (Path("/data/chargepin"), True)),
        (None, "", "", (Path("/person/.local/share/chargepin"), True)),
    ],
)
def test_a_home_is_what_is_given_else_what_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
    given: Path | None,
    named: str,
    data: str,
    expected: tuple[Path, bool],
) -> None:
    monkeypatch.setenv("CHARGEPIN_HOME", named)
    monkeypatch.setenv("XDG_DATA_HOME", data)
    monkeypatch.setattr(Path, "home", lambda: Path("/person"))
    assert home_of(given) == expected
