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
    """Run the demo, or say what it lacks."""
    lacking = [NEEDED[name] for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(f"The demo needs {', '.join(lacking)}: pip install 'goodinit[demo]'")
    # Imported here, so that the message above comes before an ImportError.
    from goodinit.demos import digits

    digits.main()


if __name__ == "__main__":
    main()
