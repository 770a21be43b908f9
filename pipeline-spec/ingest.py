"""A pipeline on Databricks: Gmail's ten tables through the connection `gmail_connector`.

`gmail-assets bundle --file FOLDER` writes this file and `_generated_gmail_python_source.py`, which it imports. Put both
into the pipeline's source folder. docs/databricks.md describes the other steps.
"""

from _generated_gmail_python_source import get_register_function, ingest

source_name = "gmail"

pipeline_spec = {
    "connection_name": "gmail_connector",  # the Unity Catalog connection
    "objects": [
        {
            "table": {
                "source_table": "messages",
                "table_configuration": {
                    "q": "newer_than:7d",  # remove it to load the whole mailbox
                    "labelIds": "INBOX",
                },
            }
        },
        {"table": {"source_table": "threads", "table_configuration": {"q": "newer_than:7d"}}},
        {"table": {"source_table": "labels"}},
        {"table": {"source_table": "drafts"}},
        {"table": {"source_table": "profile"}},
        {"table": {"source_table": "settings"}},
        {"table": {"source_table": "filters"}},
        {"table": {"source_table": "forwarding_addresses"}},
        {"table": {"source_table": "send_as"}},
        {"table": {"source_table": "delegates"}},
    ],
}

# `spark` is the pipeline's session. With this setting, Unity Catalog passes the connection's options to the source.
spark.conf.set("spark.databricks.unityCatalog.connectionDfOptionInjection.enabled", "true")  # noqa: F821

register_lakeflow_source = get_register_function(source_name)
register_lakeflow_source(spark)  # noqa: F821
ingest(spark, pipeline_spec)  # noqa: F821
