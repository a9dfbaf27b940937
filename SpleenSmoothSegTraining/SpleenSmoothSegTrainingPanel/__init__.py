"""What a person sees of training: a panel and its logic over train.py, which runs as a child process."""
