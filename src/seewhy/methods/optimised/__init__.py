"""Optimised methods: gradient descent on a mask, one for each input, until it hides or shows what matters."""
