"""A plan written into a model: checks, memory, copies, draws. Nothing else writes a model."""
