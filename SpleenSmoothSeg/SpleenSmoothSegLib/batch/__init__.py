"""What the command lines share: jobs, the runner, studies on many CTs, the console."""
