"""The writable set of a run: what it wrote, as a policy that would have allowed it."""
