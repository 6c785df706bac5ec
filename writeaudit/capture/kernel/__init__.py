"""Capture by the kernel side (probes/), through libbpf or bcc."""
