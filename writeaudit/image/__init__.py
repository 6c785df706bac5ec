"""Container images, read as streams: nothing is run, nothing is unpacked."""
