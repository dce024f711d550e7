"""By what media that nearly repeat each other are found: signatures, and the pairs that agree in them."""
