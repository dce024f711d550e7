"""The manifest: its columns, cells and rows, the media they name, and the scan that reads all of it."""
