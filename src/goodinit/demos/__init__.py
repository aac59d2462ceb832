"""Small real models and data for a first run: ``python -m goodinit.demos``.

The first run needs more than torch: ``pip install "goodinit[demo]"``.
"""
