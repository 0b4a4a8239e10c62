"""Do the inputs look as they did: their length, size, brightness?"""

from dataclasses import replace

import numpy as np

from headstart.findings import Finding
from headstart.monitoring.detectors import distribution
from headstart.monitoring.windows import Window
from headstart.profile import Profile


def detect(profile: Profile, window: Window, level: float, *, name: str, reaches_network: bool = True) -> Finding:
    """One input property, in the window against the reference; check `property/<name>`.

    One that cannot reach the network passes, whatever it is.
    """
    found = distribution.compare(
        f"property/{name}",
        profile.properties[name],
        window.properties.get(name, np.array([])),
        level,
        noun=f"The inputs' {name.replace('_', ' ')}",
        action=f"Compare inputs of the window with training inputs by their {name.replace('_', ' ')}.",
    )
    if reaches_network:
        return found
    reason = f"{found.reason} It cannot reach the network, so it never alarms."
    return replace(found, verdict="pass", bar=None, reason=reason, action="")
