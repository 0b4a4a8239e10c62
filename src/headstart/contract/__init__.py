"""The contract: how raw input becomes numbers, and the labels; one implementation for everyone.

`spec` says what it is and keeps it in a folder, `text` and `image` carry it out, `properties` describes an input
to monitors, `agreement` compares the result with what the backbone's own processor computes.
"""
