"""Prefect's SQLite database, whose writers wait for each other.

Prefect begins its transactions deferred: one that reads first, and then writes after another has written, fails at once, with
no regard to `busy_timeout`, and Prefect answers 503. Its Python client comes again; its UI closes the form without a word, and
the schedule that somebody has just saved is not there. A transaction that is begun as IMMEDIATE waits until it may write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.server.utilities.database import get_dialect
from prefect.settings import get_current_settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class ImmediateSqliteConfiguration(AioSqliteConfiguration):
    """As Prefect's own, but for how a transaction begins."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """A transaction that holds the write lock from its start; it waits for it as long as `busy_timeout` (60 s)."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def let_writers_wait() -> None:
    """Prefect's server of this process uses it, where its database is SQLite. Call it before the app is made."""
    url = get_current_settings().server.database.connection_url
    if url is not None and get_dialect(url.get_secret_value()).name == "sqlite":
        MODELS_DEPENDENCIES["database_config"] = ImmediateSqliteConfiguration(url.get_secret_value())
