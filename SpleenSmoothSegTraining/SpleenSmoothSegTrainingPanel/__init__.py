"""User interface of the training module: a panel, and its logic, which runs train.py as a child process."""
