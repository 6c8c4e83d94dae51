"""What collecting the tests has made stays to the end, and is not looked through for garbage.

A pytest plugin. Of the whole suite it is 400,000 objects: to look through them took 0.2 s (on a
busy machine) of each test that collects garbage itself, and now and then of the others.
"""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Take what is there from the collector's view."""
    gc.collect()
    gc.freeze()
