"""Fine-tuning: the loop, and what it is given.

loop                           puts all of it together, and retries a run that diverged at a lower rate
batching  objective  augment   what a step sees, and what it minimises
rates                          how fast each layer learns
guard  history  checkpoints    what stops a run, how it went, where it resumes and which weights are kept
memory                         batches that must fit
"""
