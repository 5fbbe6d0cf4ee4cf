"""What containers use: sampled, remembered for a while, and told when it passes a threshold."""
