"""Reports of signals and comparisons: an HTML page, an image, text for the terminal.

Imported only when a report is asked for. plotly, matplotlib, rich and plotext come with
``pip install "goodinit[report]"``.
"""
