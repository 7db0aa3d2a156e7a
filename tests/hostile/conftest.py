import hostile_texts as texts
import pytest


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """A lost capture twice: with harmless strings, and with hostile ones."""
    folder = tmp_path_factory.mktemp("strings")
    found = {"plain": folder / "plain.bin", "hostile": folder / texts.HOSTILE_NAME}
    texts.write(found["plain"], texts.PLAIN)
    texts.write(found["hostile"], texts.HOSTILE)
    return found
