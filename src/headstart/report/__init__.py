"""The page a person reads: what a run made, how good it is, why it was chosen, and what to do next."""
