"""What every logged model holds a copy of, and MLflow runs: no pickle. All else is in crossmodal, which must be installed.

A copy outlives versions of crossmodal, so it imports one name that stays.
"""

from mlflow.models import set_model

from crossmodal import served_model

set_model(served_model())
