"""Is the model as sure of its answers as it was?"""

from headstart.findings import Finding
from headstart.monitoring.detectors import distribution
from headstart.monitoring.windows import Window
from headstart.profile import Profile


def detect(profile: Profile, window: Window, level: float) -> Finding:
    """The probability of the answer given, in the window against the reference."""
    return distribution.compare(
        "confidence",
        profile.confidence,
        window.confidence,
        level,
        noun="Confidence",
        action="Look at the least confident answers of the window: are they inputs the model was made for?",
    )
