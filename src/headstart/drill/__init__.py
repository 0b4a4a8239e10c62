"""Plant faults and see what is noticed: before deployment in a copy of the pipeline, after it in real HTTP requests.

    candidates   a bundle or a checkpoint is damaged ──► its own stages, gates and the server's door ──► blocked?
    traffic      inputs or their mix are damaged ──► server ──► journal ──► monitor ──► detected, named, cured?

Nothing outside a temporary folder is changed. Traffic comes from held-out rows: each is asked once a window.
"""
