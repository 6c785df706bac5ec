"""WA201 to WA205: what the policy forbids or the system refuses."""
