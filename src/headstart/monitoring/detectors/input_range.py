"""Are there inputs unlike any the model was judged on: black, empty, gigantic? A handful is enough to tell."""

import numpy as np

from headstart.findings import Finding
from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.statistics import two_sample


def detect(profile: Profile, window: Window, level: float) -> Finding:
    """Inputs with a property beyond every reference input's; Bonferroni over the properties."""
    found = []
    for name, reference in sorted(profile.properties.items()):
        before, after = (
            values[np.isfinite(values)] for values in (reference, window.properties.get(name, np.array([])))
        )
        if len(before) and len(after):
            found.append((*two_sample.beyond(before, after), name, before, after))
    if not found:
        return Finding("input_range", "unsure", None, level, "No input property was measured on both sides.")
    count, side, alone, name, before, after = min(found, key=lambda entry: entry[2])
    p_value = min(1.0, alone * len(found))
    failed = p_value <= level
    limit = float(before.max() if side > 0 else before.min())
    outside = after[after > limit] if side > 0 else after[after < limit]
    where = f"{'above' if side > 0 else 'below'} {limit:.4g}, the {'highest' if side > 0 else 'lowest'}"
    return Finding(
        check="input_range",
        verdict="fail" if failed else "pass",
        statistic=p_value,
        bar=level,
        reason=(
            f"{count} of {len(after)} inputs {'has' if count == 1 else 'have'} a value of `{name}` {where} of "
            f"{len(before)} reference inputs; so many by chance with p = {p_value:.2g}"
            f"{'' if failed else ', which is no alarm'}."
            if count
            else "every input lies within the range of the reference inputs."
        ),
        action="Look at those inputs: are they of the kind that the model was made for?" if failed else "",
        evidence={
            "property": name,
            "side": "above" if side > 0 else "below",
            "limit": limit,
            "outside": count,
            "median_outside": float(np.median(outside)) if count else None,
        },
    )
