"""Counts that need no reference: refused inputs, one input sent over and over, answers of other files.

No p-value goes with them: nobody knows how often clients of a sound service are refused or repeat themselves. Shares
that are worth a look stand in `params.yaml`; an answer of files that are not the registered ones is always one too
many.
"""

from headstart.findings import Finding
from headstart.monitoring.windows import Traffic, Window

FEWEST = 20  # refusals or repeats: below, one client that tries something out would raise the alarm
NAMED = 5


def refusals(traffic: Traffic, share: float) -> Finding:
    """Whether at least `share` of all inputs were refused, and why most were."""
    refused, asked = traffic.refused, traffic.refused + traffic.answers
    found = refused / asked if asked else 0.0
    failed = found >= share and refused >= FEWEST
    commonest = dict(list(traffic.refusals.items())[:NAMED])
    reason = f"{refused} of {asked} inputs were refused"
    if commonest:
        first, count = next(iter(commonest.items()))
        reason += f", {count} of them because: {first.rstrip('.')}"
    return Finding(
        check="refusals",
        verdict="fail" if failed else "pass",
        statistic=found,
        bar=share,
        reason=f"{reason}.",
        action="Show the client these reasons; `monitor.refused_share` is the share that alarms." if failed else "",
        evidence={
            "refused": refused,
            "other_contract": traffic.other_contract,
            "inputs": asked,
            "reasons": commonest,
        },
    )


def repeated_inputs(window: Window, share: float) -> Finding:
    """Whether one input makes up at least `share` of the answers. All other tests count each input once."""
    found = window.most_repeated / window.answers if window.answers else 0.0
    failed = found >= share and window.most_repeated >= FEWEST
    often = "once" if window.most_repeated == 1 else f"{window.most_repeated} times"
    return Finding(
        check="repeated_inputs",
        verdict="fail" if failed else "pass",
        statistic=found,
        bar=share,
        reason=(
            f"{window.rows} of {window.answers} inputs are distinct; the commonest was sent {often}, "
            f"{found:.1%} of all. Every other test counts each input once."
        ),
        action=(
            "Find the client that repeats itself; if it is a health check, raise monitor.repeated_share."
            if failed
            else ""
        ),
        evidence={"answers": window.answers, "distinct": window.rows, "most_repeated": window.most_repeated},
    )


def bundle(window: Window, registered: str) -> Finding | None:
    """Whether answers came from files other than the registered bundle's; None where the journal does not say.

    Args:
        window: its `bundles` are hashes of manifests.
        registered: the hash that the registry has for this version.
    """
    if not window.bundles or not registered:
        return None
    foreign = {digest: count for digest, count in window.bundles.items() if digest != registered}
    known, others = sum(window.bundles.values()), sum(foreign.values())
    came = ", ".join(f"{digest[:12]} ({count})" for digest, count in sorted(foreign.items()))
    return Finding(
        check="bundle",
        verdict="fail" if foreign else "pass",
        statistic=float(others),
        bar=0.0,
        reason=(
            f"{others} of {known} answers came from a bundle that is not the registered one: its manifest has "
            f"{came}, the registry has {registered[:12]}."
            if foreign
            else f"all {known} answers came from the registered bundle."
        ),
        action="Restart the servers, so that they load what is registered; `headstart doctor` compares the files."
        if foreign
        else "",
        evidence={"foreign": foreign, "registered": registered},
    )
