"""Capture: turns what the kernel or strace says into raw events. See `interface`."""
