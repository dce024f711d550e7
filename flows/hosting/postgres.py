"""PostgreSQL in the place of the store's SQLite files: schema `public` for Prefect, schema `mlflow` for MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.redaction import redact

SCHEMA = "mlflow"
"""Both programs keep a table `alembic_version`, so each needs a schema of its own."""
_INSTALL = "python -m pip install 'crossmodal[postgres]'"
_CONNECT_S = 10


@dataclass(frozen=True)
class Database:
    """One PostgreSQL database. Its two addresses hold the password: they go into environments, nowhere else."""

    prefect_url: str = field(repr=False)
    mlflow_uri: str = field(repr=False)
    shown: str
    """The address without credentials."""


def parse_database(text: str) -> Database:
    """The database of `postgresql://user:password@host:port/name`. UsageError, which repeats no password."""
    form = "use postgresql://USER:PASSWORD@HOST:PORT/NAME, best in CROSSMODAL_POSTGRES"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageError(f"--postgres: not an address; {form}") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise UsageError(f"--postgres: {url.get_backend_name()} is not PostgreSQL; {form}")
    if not url.database:
        raise UsageError(f"--postgres: the address names no database; {form}")
    options = " ".join([*_texts(url.query.get("options")), f"-csearch_path={SCHEMA}"])
    return Database(
        prefect_url=_text(_for_asyncpg(url)),
        mlflow_uri=_text(url.set(drivername="postgresql+psycopg2").update_query_dict({"options": options})),
        shown=redact(_text(url)),
    )


def prepare_database(database: Database) -> None:
    """The database answers and has the schema for MLflow. EnvironmentFailed when the driver or the database is missing."""
    try:
        import psycopg2
    except ImportError:
        raise EnvironmentFailed(f"--postgres: MLflow's driver psycopg2 is not installed; {_INSTALL}") from None
    address = make_url(database.mlflow_uri)
    plain = address.set(drivername="postgresql").difference_update_query(["options"])
    try:
        connection = psycopg2.connect(_text(plain), connect_timeout=_CONNECT_S)
    except psycopg2.Error as error:
        raise EnvironmentFailed(
            f"{database.shown}: {_reason(error, address)}; start it, or correct --postgres"
        ) from None
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")  # Prefect's migrations need it
    except psycopg2.Error as error:
        text = f"{database.shown}: {_reason(error, address)}; its user must own the database"
        raise EnvironmentFailed(text) from None
    finally:
        connection.close()


def _for_asyncpg(url: URL) -> URL:
    """asyncpg calls libpq's `sslmode` `ssl`."""
    modes = _texts(url.query.get("sslmode"))
    url = url.set(drivername="postgresql+asyncpg").difference_update_query(["sslmode", "options"])
    return url.update_query_dict({"ssl": modes[0]}) if modes else url


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value


def _reason(error: Exception, address: URL) -> str:
    """What the driver says, in one line and without the password."""
    return one_line(redact(str(error), (address.password,) if address.password else ()), 300)
