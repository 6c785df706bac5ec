"""Reports on container images: the same forms as those on runs."""
