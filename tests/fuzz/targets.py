"""Every target, by name."""

from typing import Final

from fuzz import of_account, of_app, of_charger, of_core, of_files, of_radio
from fuzz.driver import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for part in (of_core, of_charger, of_files, of_radio, of_account, of_app)
    for target in part.TARGETS
}
