"""Decides which care is due for whom, when that begins and ends, and says why."""
