"""Fixtures of the hermetic tests."""

from collections.abc import Callable
from typing import Any

import pytest
from loop import run_in_no_time


@pytest.fixture
def in_no_time() -> Callable[..., Any]:
    """The loop that does not wait, as a function to run an async function with."""
    return run_in_no_time
