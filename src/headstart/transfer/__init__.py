"""How a pretrained network becomes this model's network: features, probe, plan, fine-tuning, and the control."""
