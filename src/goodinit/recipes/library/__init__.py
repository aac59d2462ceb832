"""The library's recipes: the initializations of papers and of their code."""
