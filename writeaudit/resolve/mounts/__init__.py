"""Mount tables and mount namespaces over the time of a run."""
