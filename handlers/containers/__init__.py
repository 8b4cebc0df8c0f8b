"""What the `container` handler is made of: images, the engine, its options, what is left behind, the bill."""
