"""Decides who a person is: one golden record from what the EHRs report, and what changed in it."""
