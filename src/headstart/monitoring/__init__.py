"""Is live traffic still what the model was judged on? Windows, detectors, a diagnosis, and a page to look at."""
