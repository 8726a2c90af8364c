"""The egress gate: the one program that may send. For each message a permit, then one call, never two."""
