"""Readers of single system calls in a trace, by what the calls do."""
