"""What the sections and the training module share."""
