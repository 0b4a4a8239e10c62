"""Fine-tuning: the loop, and what it is given.

loop                                       all of it put together, and its second try
batching  objective  augment               what a step sees, and what it minimises
rates  schedule  unfreezing  pull          how fast each layer learns, and what holds it back
guard  course  checkpoints  start  soup    what stops it, how it went, where it goes on, what is kept
frozen  memory                             layers run once; batches that must fit
"""
