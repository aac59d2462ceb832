"""Small real models and data for a first run: ``python -m goodinit.demos``.

They need rich, plotext and scikit-learn: ``pip install "goodinit[demo]"``.
"""
