"""A recipe resolved on a model: one row per parameter and buffer. Writes nothing."""
