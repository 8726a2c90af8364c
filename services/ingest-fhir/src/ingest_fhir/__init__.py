"""Decides what an EHR message means: who it is about, and which facts it states."""
