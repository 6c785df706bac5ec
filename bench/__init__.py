"""What writeaudit costs, against no tracing, strace, bpftrace and opensnoop. See docs/performance.md."""
