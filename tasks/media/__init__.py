"""Decoding: bytes of any origin become a canonical picture, waveform or text, in a process of their own."""
