"""What the machine and its processes are and do."""
