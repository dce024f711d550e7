"""Work in a process of its own, which may crash, hang or be killed: messages, limits, and what became of it. No work itself.

`process.py` is the side that starts one, `worker.py` the side that was started, `sandbox.py` what a worker gives up before it
reads a user's bytes. Who uses it: decoding (tasks/media/pool.py), reading Parquet and the like
(tasks/ingest/sources/isolated.py), training (tasks/train/subprocess.py), and verifying what was published
(tasks/publish/verify.py).
"""
