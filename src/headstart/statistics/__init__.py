"""Tests and intervals, each with its source. numpy only at the top; scipy where a function needs it."""
