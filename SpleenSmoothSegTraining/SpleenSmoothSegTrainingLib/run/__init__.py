"""A run of train.py: its options, its tasks, and the folder it writes to."""
