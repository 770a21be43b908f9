"""The public names of the package exist, and importing one does not import unrelated dependencies."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gmail_client
from gmail_client import errors


@pytest.mark.parametrize("name", gmail_client.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(gmail_client, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gmail_client.nothing  # noqa: B018


def test_the_client_imports_neither_dagster_nor_spark_nor_delta() -> None:
    code = (
        "import sys, gmail_client; [getattr(gmail_client, name) for name in gmail_client.__all__];"
        "above = ('dagster', 'pyspark', 'deltalake', 'gmail_assets', 'lakeflow_entry');"
        "print([name for name in above if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_errors_module_does_not_import_arrow() -> None:
    code = "import sys; from gmail_client.errors import GmailError; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_list_is_sorted_and_has_every_error() -> None:
    constants = [name for name in gmail_client.__all__ if name.isupper()]
    classes = [name for name in gmail_client.__all__ if not name.isupper() and name[0].isupper()]
    functions = [name for name in gmail_client.__all__ if name.islower()]
    assert gmail_client.__all__ == [*sorted(constants), *sorted(classes), *sorted(functions)]
    assert set(errors.__all__) <= set(gmail_client.__all__)
    assert set(gmail_client.__all__) <= set(dir(gmail_client))
