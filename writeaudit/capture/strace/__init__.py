"""Capture by strace: needs no privilege."""
