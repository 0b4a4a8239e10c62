"""Do the inputs look as they did: their length, size, brightness?"""

import numpy as np

from headstart.findings import Finding
from headstart.monitoring.detectors import distribution
from headstart.monitoring.windows import Window
from headstart.profile import Profile


def detect(profile: Profile, window: Window, level: float, *, name: str) -> Finding:
    """One input property, in the window against the reference; check `property/<name>`."""
    return distribution.compare(
        f"property/{name}",
        profile.properties[name],
        window.properties.get(name, np.array([])),
        level,
        noun=f"The inputs' {name.replace('_', ' ')}",
        action=f"Compare inputs of the window with training inputs by their {name.replace('_', ' ')}.",
    )
