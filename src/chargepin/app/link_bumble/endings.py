"""Why a link ended, for a person, by the controller's reason (Core Vol 1, Part F)."""

from bumble import hci

ENDINGS: dict[int, str] = {
    hci.HCI_CONNECTION_TIMEOUT_ERROR: "The charger is out of range or was switched off.",
    hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR: "The charger hung up.",
    hci.HCI_CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR: "This app hung up.",
    hci.HCI_CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR: (
        "Charger and app no longer share the same Bluetooth key; connecting again makes a new one."
    ),
}
