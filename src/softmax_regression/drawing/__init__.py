"""A page to draw on that classifies as one draws: its parts, and how they become one file with a model inside."""
