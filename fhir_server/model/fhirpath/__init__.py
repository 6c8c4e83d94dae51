"""FHIRPath N1 (2.0.0) with R4's own functions, over resources as the codec gives them."""
