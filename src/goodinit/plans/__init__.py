"""A recipe resolved on a model: a row for each parameter and buffer. Touches no weight."""
