"""The networks, and what goes in and out of them. Torch is imported by the modules that need it, never by this package."""
