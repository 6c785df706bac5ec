"""Launching the command: its start line, its signals, job control."""
