"""The groups of `crossmodal` commands, one file each; flows/cli.py puts them together."""
