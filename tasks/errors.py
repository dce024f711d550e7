"""Every error that crossmodal raises on purpose.

CrossmodalError                      exit code
├── UsageError                       2   a flag, a config key or a path that is wrong
├── DataError                        3   the data broke a contract
│   ├── UnknownColumns               3   no column serves as the label, or as a medium
│   └── TooManyQuarantined           3   more rows were refused than data.max_quarantined allows
├── EnvironmentFailed                4   disk, server, memory, a dead worker
└── PromotionRefused                 5   a promotion that the gate or the registry does not allow

A message is one line: what, the value, where, what to do. Credentials in it, a library's words included, are cut out when the
error is made: Prefect, logs and parent processes get it as it is.
"""

from __future__ import annotations

from typing import ClassVar

from data_contracts.recognition import Recognition
from data_contracts.refs import CleanRef
from tasks.redaction import redact


class CrossmodalError(Exception):
    """The root; the CLI prints its message as one line and exits with `exit_code`."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class UsageError(CrossmodalError):
    """A flag, a config key or a path is wrong."""

    exit_code = 2


class DataError(CrossmodalError):
    """The data broke a contract."""

    exit_code = 3


class UnknownColumns(DataError):
    """No column serves as the label, or as a medium; `recognition` says what was recognised before that."""

    def __init__(self, message: str, recognition: Recognition) -> None:
        super().__init__(message)
        self.recognition = recognition


class TooManyQuarantined(DataError):
    """More rows were refused than `data.max_quarantined` allows; `clean` names the stored quarantine table."""

    def __init__(self, message: str, clean: CleanRef) -> None:
        super().__init__(message)
        self.clean = clean


class EnvironmentFailed(CrossmodalError):
    """The machine failed: disk, server, memory, a worker that died. `transient`: another try may end well."""

    exit_code = 4

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class PromotionRefused(CrossmodalError):
    """The gate or the registry does not allow this promotion."""

    exit_code = 5
