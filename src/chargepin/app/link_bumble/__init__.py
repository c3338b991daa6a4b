"""The app's radio and links on Bumble: a virtual radio, or an adapter that Bumble drives."""

from chargepin.app.link_bumble.central import BumbleRadio, open_radio

__all__ = ["BumbleRadio", "open_radio"]
