"""`python -m flows` is the crossmodal command."""

from flows.cli import main

main()
