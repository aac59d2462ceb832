"""The data flow of one run: its calls, and which elements of which parameter each tensor holds."""
