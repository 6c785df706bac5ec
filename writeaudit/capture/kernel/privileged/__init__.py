"""Privilege separation: a small process with root's rights, and how the rest of writeaudit talks to it.

See docs/threat-model.md. `monitor` is the privileged process, `client` the other side, `protocol` what
both have agreed on.
"""
