"""What several test modules share: generated images, archives and runs, and ways to look at them."""

import pytest

# Their assertions then say what differed, as those of the test modules do.
pytest.register_assert_rewrite(
    "helpers.documentation", "helpers.pages", "helpers.runs", "helpers.training"
)
