import pytest
from fleet_runs import Fleet


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)
