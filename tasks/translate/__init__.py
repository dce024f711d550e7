"""One input generated from another: marked as generated, cached by what it was made from and by, and tried against the real."""
