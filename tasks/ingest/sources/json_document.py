"""What a .json file is: COCO's or Label Studio's, or objects as json_rows.py reads them."""

from __future__ import annotations

from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.coco import is_coco, open_coco
from tasks.ingest.sources.json_rows import open_json
from tasks.ingest.sources.label_studio import is_label_studio, open_label_studio
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import TableFile


def open_document(file: TableFile, limits: ReadLimits) -> Manifest:
    """The rows of a .json file. DataError for one that is none of these."""
    if is_coco(file):
        return open_coco(file)
    if is_label_studio(file):
        return open_label_studio(file)
    return open_json(file, limits)
