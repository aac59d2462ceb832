"""Small models and data for a demo: ``python -m goodinit.demos``.

The demo needs ``pip install "goodinit[demo]"``.
"""
