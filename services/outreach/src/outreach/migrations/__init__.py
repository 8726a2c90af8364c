"""Schema history of the outreach database."""
