"""Where rows come from: tables, folders, Parquet, remote stores and the built-in digits."""
