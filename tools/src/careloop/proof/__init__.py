"""Proofs: try to break the promises, and judge from outside whether they held."""

from careloop.proof.__main__ import main

__all__ = ["main"]
