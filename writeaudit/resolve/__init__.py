"""Resolution: gives each raw event absolute paths, a mount and a file identity. See `resolver`."""
