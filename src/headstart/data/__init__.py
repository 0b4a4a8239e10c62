"""Data: sources to raw rows (`ingest`), raw rows to splits and a quarantine (`prepare`)."""
