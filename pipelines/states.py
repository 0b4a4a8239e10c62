"""Names of the states in which flows complete with another verdict than pass, or with nothing done."""

REJECTED, UNSURE, ALERT = "Rejected", "Unsure", "Alert"  # a gate or monitor said no: exit status 1
NOTHING_NEW = "Nothing new"
NOT_SURE = "Not sure"  # nobody asked for the cure, and its effect may be bad
NO = frozenset({REJECTED, UNSURE, ALERT})
