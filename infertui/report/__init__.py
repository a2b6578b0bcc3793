"""What people and programs are shown: the same figures as tables, lines and files."""
