"""What a store holds, what of it is still needed, and whether it is as it was written."""
