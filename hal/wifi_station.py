"""The WiFi of a board as a station, brought to a known state.

A soft reset does not reset WiFi: channel, power saving and even an association are still those
of the program before. So it is switched off and on, and everything is set again.
"""

import network


def restart(wlan, power_save, channel=None):
    """Off, on, and set; OSError when the driver refuses."""
    try:
        wlan.disconnect()
    except OSError:
        pass  # was not started
    wlan.active(False)
    wlan.active(True)
    # Nobody but this program decides when to connect: that would change the channel.
    wlan.config(reconnects=0)
    wlan.config(pm=network.WLAN.PM_PERFORMANCE if power_save else network.WLAN.PM_NONE)
    if channel is not None:
        wlan.config(channel=channel)  # only after `active`
