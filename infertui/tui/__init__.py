"""The terminal app: what it shows it reads from a child's events and from the database; it times nothing itself."""
