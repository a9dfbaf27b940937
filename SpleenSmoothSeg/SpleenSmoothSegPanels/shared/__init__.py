"""What the sections and the training module share: children, devices, models, packages, display, widgets."""
