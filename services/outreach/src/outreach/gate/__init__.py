"""The egress gate: the one program that may send. A permit from consent for each message, then one call, never two."""
