"""Batch scoring: a file of rows in, the same rows with answers out; flat memory, and a killed run goes on.

`reading` gives windows of rows, `answers` answers one window, `writing` joins parts to one file, `job` ties them
together: `job.score(...)` is the door.
"""
