"""What holds for every run of the tests, wherever it starts: the rule of skips, and the data."""

pytest_plugins = ("tests.data", "tests.skips", "tests.sizes")
