"""Pictures in any format, and what is made of them for a model."""
