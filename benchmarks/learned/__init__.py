"""Trained explainers on real photos and on Fashion-MNIST: how good, how fast, and where they end."""
