"""Reports: the last stage. It renders what policy and analysis decided, and decides nothing."""
