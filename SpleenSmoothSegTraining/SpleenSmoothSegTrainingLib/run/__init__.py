"""A whole run: its command line, its jobs, and the folder it writes to."""
