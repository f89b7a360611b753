"""What is kept of per-example gradients: tokens, linear sketches of each layer, and learned encoders of them."""
