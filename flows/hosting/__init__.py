"""What `crossmodal up` starts, guards, watches and repairs."""
