"""The fused classifier, and the ways of fusing modalities: (B, K, W) vectors and a (B, K) mask of what is there."""
