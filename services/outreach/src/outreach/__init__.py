"""Outreach decides what to say to a patient, when, by which channel, and when a person has to take over."""
