"""How calls are sent: the socket and its stamps (wire), bytes to tokens (stream, api), a plan under way (driver)."""
