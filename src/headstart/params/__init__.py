"""`params.yaml`: typed sections, one loader, and what each stage gets to see of it."""
