"""What a trained network does: its gates, where it looks, what it takes for what."""
