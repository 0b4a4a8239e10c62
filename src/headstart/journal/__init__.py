"""What was answered, to whom it belongs, and what the truth turned out to be: formats, writing, reading, deleting.

state/journal/<model>/
  answers/    *.arrow: open logs, flushed each second; *.parquet: sealed segments, whole days once compacted
  feedback/   the same for labels that came later
  batchnorm/  the same for moments of BatchNorm inputs, summed over images; no image is in it
  deletions/  request ids that must go
"""
