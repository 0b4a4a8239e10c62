"""What was answered, to whom it belongs, and what the truth turned out to be: formats, writing, reading, deleting.

state/journal/<model>/
  answers/    *.arrow: open logs, flushed each second; *.parquet: sealed segments, whole days once compacted
  feedback/   the same for labels that came later
  layers/     the same for moments of what entered the network's layers, summed over inputs; no input is in it
  deletions/  request ids that must go
"""
