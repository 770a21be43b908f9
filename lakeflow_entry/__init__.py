"""Gmail as a Databricks Lakeflow source and as a PySpark data source.

Importing this package imports PySpark; `gmail_client` never does, `gmail_assets` only for its Spark engine.
"""

from lakeflow_entry.connector import GmailLakeflowConnect
from lakeflow_entry.datasource import GmailDataSource, get_register_function, register_lakeflow_source
from lakeflow_entry.pipelines.ingest import ingest

__all__ = [
    "GmailDataSource",
    "GmailLakeflowConnect",
    "get_register_function",
    "ingest",
    "register_lakeflow_source",
]
