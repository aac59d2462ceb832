"""Signals and comparisons to look at: HTML, images, the terminal. Renders, measures nothing.

Imported when a report is asked for, and not before; plotly, matplotlib, rich and plotext come
with ``pip install "goodinit[report]"``.
"""
