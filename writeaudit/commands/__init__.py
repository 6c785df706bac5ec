"""The subcommands: one module each, whose `command` is what `cli` loads when it is asked for."""
