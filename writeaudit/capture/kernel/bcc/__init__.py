"""The second loader: the same C source, compiled on the spot by the distribution's bcc."""
