"""Consent decides what may be said to whom by which channel, now, and answers for it later."""
