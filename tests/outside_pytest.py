"""To be imported first by what runs outside of pytest: no network, torchvision's operators."""

from tests import conftest

OPERATORS = conftest.declare_torchvision_operators()  # kept: declarations go with the object
