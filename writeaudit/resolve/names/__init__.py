"""Names of files: what is known of them, and what that knowledge rests on."""
