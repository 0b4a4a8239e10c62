"""Names of the states in which flows complete with another verdict than pass, or with nothing done."""

REJECTED, UNSURE, ALERT = "Rejected", "Unsure", "Alert"  # a gate or monitor said no: exit status 1
NOTHING_NEW = "Nothing new"
AWAITING = "Awaiting approval"  # it passed, and release.approval asks a person to promote it
NOT_SURE = "Not sure"  # nobody asked for the cure, and its effect may be bad
PROVISIONAL = "Provisional"  # promoted, though the test set is too small to be sure
NO = frozenset({REJECTED, UNSURE, ALERT})
BY_VERDICT = {"fail": REJECTED, "unsure": UNSURE, "provisional": PROVISIONAL}  # the gravest first
