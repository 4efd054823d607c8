"""What the network saw: channels as concepts, how they make up a decision, and photos that show them."""
