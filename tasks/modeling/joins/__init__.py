"""Ways of joining modalities, one file each. All take (B, K, W) vectors and a (B, K) mask of what is there."""
