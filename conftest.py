"""What holds for every run of the tests, wherever it starts: skips, data, MongoDB."""

pytest_plugins = (
    "tests.data",
    "tests.folders",
    "tests.garbage",
    "tests.mongo.driver",
    "tests.mongo.shared",
    "tests.mongo.databases",
    "tests.skips",
    "tests.sizes",
)
