"""One question a file: `detect(profile, window, level)` answers with a finding; it fails at p <= level."""
