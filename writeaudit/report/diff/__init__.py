"""What changed between two runs: compared by names without their random parts, then rendered."""
