"""Findings about single files: their other names, their modes, what is in them."""
