"""What may be wrong with data, one module a kind: rows in, findings out, and a reason for each row put aside."""

LEVEL = 0.001  # a check speaks up on one sound data set in a thousand
SEED = 29  # of what checks draw: rows looked at, halves, permutations
