"""The redactor, by value: what it cuts out, what it leaves alone, and that nothing gets it stuck."""

from __future__ import annotations

import logging
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import progress
from tasks.config import load_config
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, PromotionRefused, UsageError
from tasks.escaping import html_text, markdown_cell, markdown_text, one_line, visible
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.remote import make_remote
from tasks.ingest.sources.resolve import locate_data, name_of_data
from tasks.redaction import (
    environment_secrets,
    holds_credential,
    is_redacted,
    redact,
    redact_cell,
    redact_error,
    redact_json,
    redact_output,
    secrets_of,
)
from tasks.store import Store

CUT = [
    ("https://me:Canary1@host:5000/x?a=1", "https://host:5000/x?a=1"),
    ("https://Canary1@github.com/x.git", "https://github.com/x.git"),
    ("postgresql+psycopg2://me:Can/a?r#y1@db:5433/ours?sslmode=require", "postgresql+psycopg2://db:5433/ours?sslmode=require"),
    ("'s3://key:Canary1@bucket/a@2x.png': no", "'s3://bucket/a@2x.png': no"),
    ("abfs://me:Canary1@container@account.dfs/b", "abfs://account.dfs/b"),
    ("cut off: https://me:Canary1", "cut off: https://"),
    ("a.png?X-Amz-Credential=Canary1%2F2026&X-Amz-Signature=Canary1&v=3", "a.png?X-Amz-Credential=***&X-Amz-Signature=***&v=3"),
    ("/a?AWSAccessKeyId=Canary1&Signature=Can%2Bary1%3D&Expires=17", "/a?AWSAccessKeyId=***&Signature=***&Expires=***"),
    ("https://h/a?sv=2026&se=2026-11-26T00%3A00Z&sp=r&sig=Canary1&v=3", "https://h/a?sv=***&se=***&sp=***&sig=***&v=3"),
    ("https://h/a.png?access_token=Canary1, which", "https://h/a.png?access_token=***, which"),
    ("https://h/a?next=https://g/b?token=Canary1&v=1", "https://h/a?next=https://g/b?token=***&v=1"),
    ("https://h/x?api_key=Canary1#part", "https://h/x?api_key=***#part"),
    ("https://h/x?key=AIzaCanary1Canary1", "https://h/x?key=***"),
    ("host=db user=me password='Can ary1' dbname=x", "host=db user=me password='***' dbname=x"),
    ("MLFLOW_TRACKING_PASSWORD=Canary1 crossmodal", "MLFLOW_TRACKING_PASSWORD=*** crossmodal"),
    ("{'Authorization': 'Basic Q2FuYXJ5MQ=='}", "{'Authorization': 'Basic ***'}"),
    ("Authorization: Bearer Canary1", "Authorization: Bearer ***"),
    ("sent bearer Canary1Canary1Canary1", "sent bearer ***"),
    ('{"password": "Canary1"}', '{"password": "***"}'),
    ("with hf_Canary1Canary1Canary1", "with ***"),
    ("sk-live-Canary1Canary1Canary1, hvs.Canary1Canary1Canary1", "***, ***"),
    ("at https://hooks.slack.com/services/T0/B0/Canary1Canary1", "at https://hooks.slack.com/services/***"),
    ("X-Vault-Token: Canary1Canary1Canary1", "X-Vault-Token: ***"),
    ("https://h/a?subscription-key=Canary1&v=1", "https://h/a?subscription-key=***&v=1"),
    ("Protocol=https;AccountName=x;AccountKey=Can+ary/1==;Suffix=y", "Protocol=https;AccountName=x;AccountKey=***;Suffix=y"),
    ("from --set train.api_key = Canary1", "from --set train.api_key = ***"),
    ("aws_secret_access_key = Can/ary+1", "aws_secret_access_key = ***"),
    ("jdbc:postgresql://h/db;user=x;password=Canary1", "jdbc:postgresql://h/db;user=x;password=***"),
    ("host=b,password=Canary1,Canary2 x", "host=b,password=*** x"),
    ("user=a,password=Canary1,host=b", "user=a,password=***,host=b"),
    ("to=h;password='Can ary1,x';v=1", "to=h;password='***';v=1"),
    ("password: 'Can ary1'", "password: '***'"),
    ("x: 1, db_password: Canary1, v: 2", "x: 1, db_password: ***, v: 2"),
    ("run --password Canary1 --to h", "run --password *** --to h"),
    ("password%3DCanary1", "password=***"),
    ("https://h/a?next=%3Ftoken%3DCanary1&v=1", "https://h/a?next=?token=***&v=1"),
    ("to=postgresql%3A%2F%2Fme%3ACanary1%40db%2Fours", "to=postgresql://db/ours"),
    ("s3%253A%252F%252Fb%252Fk%253FX-Amz-Signature%253DCanary1", "s3://b/k?X-Amz-Signature=***"),
    ("-----BEGIN PRIVATE KEY-----\nCanary1Canary1Canary1\n-----END", "-----BEGIN PRIVATE KEY-----***-----END"),
]  # fmt: skip
LEFT = [
    "the token in this text, a password policy, the secret of her success",
    "token", "password:", "max_tokens=512", "max_tokens = 512", "its token = words",
    "train.token=5", "Authorization: required", "a bearer of good news in 2026",
    "sqlite:////a/b@c.db", "http://h:8080/a@2x.png", "http://[::1]:4200/a@b", "me@example.com", "s3://bucket/a b@c",
    "abfss://container@account.dfs.core.windows.net/b.png", "https://h/dl?key=images/a.png", "https://h/a?id=5&page=2",
    "use postgresql://USER:PASSWORD@HOST:PORT/NAME, best in CROSSMODAL_POSTGRES", '{"token": "cat"}', "img/0001.png",
    "password: every word of this is a sentence", "the password: forgotten, again", "--token says who may ask", "a: token: cat",
    "https://h/dl?mail=me%40example.com", "s3://b/day%3D2026/x%20y.png", "https://h/r?to=https%3A%2F%2Fg%2Fa", "50%3D half",
    "=cmd|'/c calc'!A1", "rows 12: bad value; see data.time_format = 5", "schlüssel=täglich", "\ud800?sig", "",
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), CUT)
def test_a_credential_is_cut_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text, ()) == shown
    assert redact(f"a {text} b", ()) == f"a {shown} b"
    assert redact(shown, ()) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: Canary1", "password: ***"),
        ("a: 1\n  - api_key: Canary1  # ours\nb: 2", "a: 1\n  - api_key: ***  # ours\nb: 2"),
        ("{v: 1, password: Canary1}", "{v: 1, password: ***}"),
        ("db:\n  secret: |\n    Canary1\n", "db:\n  secret: |\n    ***\n"),
        ("token: Canary1Canary1Canary1", "token: ***"), ("token: cat\nsecret: 12", "token: cat\nsecret: 12"),
        ("secret_key: null", "secret_key: null"), ("password: two words", "password: two words"),
    ],
)  # fmt: skip
def test_a_credential_in_yaml_is_cut_out(text: str, shown: str) -> None:
    assert redact(text, ()) == shown
    assert redact(shown, ()) == shown


@pytest.mark.parametrize("text", LEFT)
def test_a_text_without_one_is_the_same_object(text: str) -> None:
    assert redact(text, ()) is text


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("password=hunter2", "password=hunter2"), ("AccountKey = secret", "AccountKey = secret"),
        ("Authorization: Bearer of good news", "Authorization: Bearer of good news"),
        ("https://me:Canary1@h/a?sig=Canary2&v=1", "https://h/a?sig=***&v=1"), ("a.png?token=Canary1", "a.png?token=***"),
        ("hf_Canary1Canary1Canary1", "***"), ("it is Canary-env", "it is ***"),
        ("password: hunter2", "password: hunter2"), ("s3%3A%2F%2Fb%3Fsig%3DCanary1", "s3://b?sig=***"),
    ],
)  # fmt: skip
def test_words_in_a_cell_stay(cell: str, kept: str) -> None:
    assert redact_cell(cell, ("Canary-env",)) == kept


@given(st.text(st.sampled_from("ab1:/@?&=#;.*'\" -%,34d\n" + string.ascii_lowercase)))
def test_twice_is_once(text: str) -> None:
    once = redact(f"://{text}", ())
    assert redact(once, ()) == once


@given(st.text(), st.text(string.ascii_letters + string.digits, min_size=8, max_size=40))
def test_no_text_around_it_hides_a_password(around: str, password: str) -> None:
    text = f"{around} https://me:{password}@host/x {around}"
    assert f":{password}@" not in redact(text, ())
    assert password not in redact(text, (password,)).replace(around, "")


@pytest.mark.parametrize(
    "part",
    ["a://b:c,", "a",  "a_", "://", "?a=1", "x@", "basic ", "token", "-----BEGIN PRIVATE KEY-----", "a.b-", "password='",
     "Bearer a", ";a=", "?a=;", "token ", "password= ", "password=,", "password=a,", "{ ", "- password: ", "--a-", "%3D", "%25",
     "--token ", "secret: |\n "],
)  # fmt: skip
def test_no_text_takes_more_than_linear_time(part: str) -> None:
    assert len(redact(part * (200_000 // len(part)), ())) > 0  # quadratic: minutes, where this is a tenth of a second


def test_secrets_of_the_environment_are_cut_out_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "AWS_SECRET_ACCESS_KEY": "abc/Canary+1", "HF_TOKEN": "Canary-two", "PREFECT_API_AUTH_STRING": "admin:Canary_three",
        "PGPASSWORD": "Canary4four", "MLFLOW_TRACKING_URI": "https://me:Canary%40five@host", "OUR_API_KEY": "Canary6six",
        "X_TOKEN": "short", "ANY_TOKEN": "12345678", "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/Canary7", "SSH_AUTH": "/tmp/Canary8",
        "PATH": "Canary9nine",
    }  # fmt: skip
    found = secrets_of(given)
    assert {
        "abc/Canary+1",
        "abc%2FCanary%2B1",
        "Canary-two",
        "Canary_three",
        "Canary4four",
        "Canary@five",
        "Canary6six",
    } <= {*found}
    assert not {"short", "12345678", "/var/Canary7", "/tmp/Canary8", "Canary9nine"} & {*found}
    assert (
        redact("sent abc%2FCanary%2B1, Canary@five and Canary4fourteen", found) == "sent ***, *** and Canary4fourteen"
    )
    monkeypatch.setenv("LATE_TOKEN", "Canary-late")
    assert "Canary-late" in environment_secrets()
    assert redact("it was Canary-late") == "it was ***"
    monkeypatch.delenv("LATE_TOKEN")
    assert redact("it was Canary-late") == "it was Canary-late"


def test_json_is_redacted_in_every_place_and_keeps_its_keys() -> None:
    value = {"a": ["s3://me:secret@host/x", "plain@x", 5, None], "password": "Canary", "token": "cat", "api_key": ""}
    assert redact_json(value) == {
        "a": ["s3://host/x", "plain@x", 5, None],
        "password": "***",
        "token": "cat",
        "api_key": "",
    }


SIGNED = "https://me:Canary1@h/a?sig=Canary2"


@pytest.mark.parametrize("sink", [visible, one_line, html_text, markdown_text, markdown_cell])
def test_every_form_in_which_text_is_shown_is_redacted(sink: Callable[[str], str]) -> None:
    assert "Canary" not in sink(f"see {SIGNED}")


def test_a_text_is_redacted_before_it_is_cut() -> None:
    assert "Canary" not in one_line(f"{'x' * 40} https://Canary1@host/{'y' * 40}", 60)


@pytest.mark.parametrize("kind", [CrossmodalError, UsageError, DataError, EnvironmentFailed, PromotionRefused])
def test_an_error_of_ours_never_holds_one(kind: type[CrossmodalError]) -> None:
    assert str(kind(f"data {SIGNED!r}: no")) == "data 'https://h/a?sig=***': no"
    assert Refused("fetch-failed", SIGNED).detail == "https://h/a?sig=***"


def test_an_error_of_a_library_is_replaced_where_it_shows_one() -> None:
    clean = ValueError("no")
    assert redact_error(clean) is clean
    shown = redact_error(ConnectionError(f"cannot reach {SIGNED}"))
    assert isinstance(shown, OSError)
    assert str(shown) == "ConnectionError: cannot reach https://h/a?sig=***"
    ours = DataError("broken")
    ours.__cause__ = KeyError(SIGNED)
    assert redact_error(ours) is ours
    assert ours.__cause__ is None


def test_a_log_record_holds_no_credential_under_any_formatter(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    redact_output()
    try:
        try:
            raise ValueError(SIGNED)
        except ValueError:
            logging.getLogger("some.library").exception("failed for %s after %d", SIGNED, 3)
    finally:
        logging.setLogRecordFactory(before)
    [record] = caplog.records
    assert record.getMessage() == "failed for https://h/a?sig=*** after 3"
    assert "ValueError: https://h/a?sig=***" in caplog.text
    assert "Canary" not in caplog.text + str(record.args)


def test_lines_of_a_run_hold_none() -> None:
    lines, steps = [], []
    with progress.listening_to_lines(lambda line, level: lines.append(line)):
        progress.log(f"read {SIGNED}")
    with progress.listening(lambda *step: steps.append(step)):
        progress.report("scan", 1, 2, SIGNED)
    assert "Canary" not in f"{lines}{steps}"


def test_a_signed_address_gives_names_and_folders_as_an_unsigned_one() -> None:
    path = "https://host/set/manifest.csv?X-Amz-Signature=Canary/1"
    config = load_config({}, [f"data.path={path}"])
    assert name_of_data(path) == name_of_data("https://host/set/manifest.csv") == "set"
    assert make_remote(config).base == "https://host/set/"


def test_an_address_that_was_cut_is_asked_for_again(store: Store, tmp_path: Path) -> None:
    config = load_config({}, ["data.path=https://h/m.csv?sig=***", 'data.allowed_schemes=["https"]'])
    with pytest.raises(UsageError, match="give it whole"):
        locate_data(config, store)
    assert is_redacted("https://h/m.csv?sig=***")
    assert not holds_credential("https://h/m.csv?sig=***")
