"""From records of the ring buffer to those of the capture interface. Pure."""
