"""Training of explainers: data, losses, the loop, checkpoints, looks at held-out images."""

from __future__ import annotations

from seewhy.training.base import TRAININGS, Step, Trainee, Training

__all__ = ["TRAININGS", "Step", "Trainee", "Training"]
