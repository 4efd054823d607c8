"""Class activation maps: methods that weigh the channels of a layer."""
