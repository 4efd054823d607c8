"""Methods that read gradients at the pixels."""
