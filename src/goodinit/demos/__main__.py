"""``python -m goodinit.demos``."""

import importlib.util
import sys

NEEDED = {
    "plotext": "plotext",
    "plotly": "plotly",
    "rich": "rich",
    "sklearn": "scikit-learn",
}


def main() -> None:
    """Run the demo, or print what must be installed."""
    missing = [NEEDED[name] for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"The demo needs {', '.join(missing)}: pip install 'goodinit[demo]'")
    # Imported here, so that the message above is printed instead of an ImportError.
    from goodinit.demos import digits

    digits.main()


if __name__ == "__main__":
    main()
