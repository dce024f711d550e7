"""Credentials cut out of what is shown or kept: the one redactor, which stands before every terminal, log, file and database.

What counts as one: the user and the password of an address; values of query parameters that open something (a token, a
signature and all that is signed with it); `password=…` as connection strings have it; the value of an Authorization header;
tokens of known form; and the value of every variable of the environment that is named like a secret, wherever it turns up.

Only `redact` decides. It is idempotent, and a text without a credential comes out as the same object. An address keeps its
host, its path and its other parameters, so that what is shown still says which file is meant.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

MASK = "***"
"""Stands for a value that was cut out; the user of an address is cut out without one."""
_LONGEST = 2000
"""Characters of one user info or one parameter's value: a bound, so that no text takes quadratic time."""
_PASSES = 10
_SHORTEST = 8
"""Characters of a secret of the environment's: a shorter one is found in ordinary words."""
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes of Azure's, whose addresses name a container where others name a user: container@account.host/path."""
_CONTAINER = re.compile(r"\$?[a-z0-9-]{3,63}")
_PLACEHOLDERS = ("USER", "USER:PASSWORD")
"""Where a message says how an address is written."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*$")
_USER = re.compile(
    rf"""://(?:([^\s/?#"<>]{{0,{_LONGEST}}})@               # up to the last @ before the path
          | [^\s/?#:"<>@\[]{{0,200}}:(?!\d*(?:[/?#\s"'<>,;)\]]|$))   # what follows the colon is no port, but a password
            (?:[^\s"<>]{{0,200}}@ | [^\s/?#"'<>]+(?![^\s"'<>])))     # with / ? # in it, or cut off before its @
    """,
    re.VERBOSE,
)
_SECRET_WORD = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key|private[_-]?key"
    r"|account[_-]?key|auth[_-]?string|connection[_-]?string|credentials?|signature"
)
_PARAMETER = re.compile(
    rf"""([?&;])([A-Za-z][\w.~-]{{0,60}})=((?:(?!;[A-Za-z][\w.~-]{{0,60}}=)[^&\s"'<>#)\]}}]){{0,{_LONGEST}}}[^&\s"'<>#)\]}},;.:!?])"""
)
_INNER = re.compile(r"\?([A-Za-z][\w.~-]{0,60})=")
"""The first parameter of an address that is a parameter's value."""
_OPENS = re.compile(
    rf"(?:.*(?:{_SECRET_WORD})|awsaccesskeyid|googleaccessid|key-pair-id|x-(?:amz|goog|oss|cos|obs)-.*|sig|pwd|pass|auth|jwt"
    r"|subscription-key|authorization|expires|hmac|sas)",
    re.IGNORECASE,
)
"""Names of parameters whose value opens something, or is signed by one that does: it changes whenever that is renewed."""
_SHARED_ACCESS = re.compile("s[eirpstv]|srt|sip|spr|sk(?:oid|tid|[etsv])|saoid|suoid|scid")
"""Of Azure's shared access signatures, beside `sig`."""
_ASSIGNED = re.compile(
    rf"""(?<![\w.~-])([\w.-]{{0,60}}?(?:{_SECRET_WORD}|pwd))     # MLFLOW_TRACKING_PASSWORD, password
         (["']?\s?:\s?["'] | (?:=|\s=\s)["']?)                 # "password": "…", password: '…', password=…, password = …
                                                                # to a comma before `host=`, not before more of it
         ((?<=["'])[^"']{{4,{_LONGEST}}}
          | (?:[^\s&,;"'()<>\]}}] | ,(?=[^\s&,;"'()<>\]}}=]{{1,60}}(?:[\s&,;"'()<>\]}}]|$))){{4,{_LONGEST}}})
      """,
    re.IGNORECASE | re.VERBOSE,
)
_LINE = re.compile(
    rf"""((?:^|[{{,])[ \t]{{0,80}}(?:-[ \t]+)?)([\w.-]{{0,60}}?(?:{_SECRET_WORD}|pwd))  # at the beginning, as YAML has it
         (:[ \t]+(?:[|>][-+]?\n[ \t]+)?)
         ([^\s"',{{}}#|>]{{4,{_LONGEST}}})(?=[ \t]*(?:[,}}\n\r#]|$))                 # one word, to the end of the line""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_OPTION = re.compile(
    rf"(?<!\S)(--[\w-]{{0,60}}?(?:{_SECRET_WORD}))(\s)([^\s\"'-][^\s\"']{{3,{_LONGEST}}})", re.IGNORECASE
)
_QUOTED = re.compile(r"%(?:25)*(3[abdf]|2[6f]|40)", re.IGNORECASE)
"""A mark that takes an address or a query apart, percent-encoded: once, or more often."""
_RUN = re.compile(r"[^\s\"'<>]+")
_PLAIN_VALUE = re.compile(r"[-+]?[\d.,_]+|true|false|none|null|\*+", re.IGNORECASE)
_DOUBTFUL = re.compile(r".*(?:token|credentials?|signature)", re.IGNORECASE)
"""Names under which ordinary words stand, too: the column of a table of words, say."""
_HEADER = re.compile(
    r"""(?i)\b((?:proxy-)?authorization|x-(?:api-key|auth-token|vault-token|amz-security-token)|set-cookie|cookie)
        (["']?\s{0,3}[:=]\s{0,3}b?["']?)
        ((?:bearer|basic|token|digest|apikey)\s+)?([^\s"',;)]{6,2000})""",
    re.VERBOSE,
)
_BEARER = re.compile(r"\b([Bb]earer|[Bb]asic)(\s+)(?=[A-Za-z._~+/=-]{0,2000}\d)[A-Za-z0-9._~+/=-]{16,2000}")
_KNOWN_FORM = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|pn[ub]_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|(?:AKIA|ASIA)[A-Z0-9]{16}\b|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+)"
    r"|\bsk-[a-z]{3,6}[-_][\w-]{16,}|\bhvs\.[\w-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|(?<=hooks\.slack\.com/services/)[\w/]{16,}|(?<=PRIVATE KEY-----)[A-Za-z0-9+/=\s\\]{16,}"
)
_WORDS = ("pass", "pwd", "secret", "token", "key", "auth", "string", "credential", "signature")
_HEADER_WORDS = ("auth", "api-key", "-token", "cookie", "bearer", "basic")
"""One of these is, in lower case, in every text in which the expressions above find something; most texts have none."""
_FORMS = (
    "hf_",
    "pnu_",
    "pnb_",
    "gh",
    "glpat-",
    "xox",
    "AIza",
    "AKIA",
    "ASIA",
    "eyJ",
    "sk-",
    "hvs.",
    "SG.",
    "hooks.slack.com",
    "PRIVATE KEY",
)
_SECRET_VARIABLE = re.compile(
    r"(?:.*_)?(?:TOKEN|PASSWORD|PASSWD|PASS|PWD|SECRET|API_?KEY|ACCESS_KEY|ACCESS_KEY_ID|SECRET_KEY|PRIVATE_KEY|ACCOUNT_KEY"
    r"|SIGN_KEY|AUTH|AUTH_STRING|SAS_TOKEN|CONNECTION_STRING|PGPASSWORD|COOKIE)"
)
_ADDRESS_VARIABLE = re.compile(r"(?:.*_)?(?:UR[IL]|DSN|PROXY|POSTGRES|DATABASE|CONNECTION_URL|ENDPOINT)", re.IGNORECASE)


def redact(text: str, secrets: Collection[str] | None = None) -> str:
    """The text without the credentials in it. `secrets`: values to cut out wherever they stand; None: the environment's.

    Who redacts many cells takes `environment_secrets()` once and hands it over.
    """
    found = _without_quoted(_without_any(text, secrets), lambda run: _without_any(run, secrets))
    return text if found == text else found


def redact_cell(text: str, secrets: Collection[str] | None = None) -> str:
    """A cell of the user's own that distinguishes rows, or from which a model learns: as `redact`, but words stay.

    `password=hunter2` may be a line of a film, or a row's id, and rows that were different must not become alike.
    """
    found = _without_quoted(_without_known(_without_addresses(text), secrets), _without_addresses)
    return text if found == text else found


def redact_json(value: Any) -> Any:
    """The same JSON value, each of its texts redacted; also what stands under a name like `password`. Keys stay."""
    return _redact_json(value, environment_secrets())


def _redact_json(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {key: _redact_item(key, item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_json(item, secrets) for item in value]
    return value


def _redact_item(key: Any, item: Any, secrets: Collection[str]) -> Any:
    named = isinstance(item, str) and isinstance(key, str) and _NAMES_SECRET.fullmatch(key) and not _DOUBTFUL.match(key)
    return MASK if named and item else _redact_json(item, secrets)


_NAMES_SECRET = re.compile(rf"[\w.-]*(?:{_SECRET_WORD}|pwd)", re.IGNORECASE)


def is_redacted(text: str) -> bool:
    """Whether something was cut out of an address that left a mark: it leads nowhere any more."""
    return "://" in text and MASK in text


def holds_credential(text: str) -> bool:
    """Whether `redact` would change the text."""
    return redact(text) != text


# -- the environment ---


def environment_secrets() -> tuple[str, ...]:
    """The secrets in this process's environment as it is now, the longest first. Read each time: programs set some late."""
    return secrets_of({name: os.environ.get(name, "") for name in os.environ if _is_named_like_one(name)})


@functools.lru_cache(4096)
def _is_named_like_one(name: str) -> bool:
    return bool(_SECRET_VARIABLE.fullmatch(name.upper()) or _ADDRESS_VARIABLE.fullmatch(name))


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables that are named like a secret, and passwords in the addresses of others; as they are and quoted."""
    found = set[str]()
    for name, value in environment.items():
        if _SECRET_VARIABLE.fullmatch(name.upper()):
            found |= {value, *value.split(":")[1:]} if "AUTH" in name.upper() else {value}
        elif "@" in value and "://" in value:
            found |= set(_passwords(value))
    found |= {quote(secret, safe="") for secret in found}
    return tuple(sorted((secret for secret in found if _is_secret(secret)), key=lambda secret: (-len(secret), secret)))


def _passwords(address: str) -> Iterator[str]:
    """The password in an address, as it is written and as it is sent; the user, where there is no password: a token, then."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    secret = parts.password if parts.password is not None else parts.username
    if secret:
        yield from (secret, unquote(secret))


def _is_secret(value: str) -> bool:
    """Not a short word, a number, or the path of a file that holds the secret."""
    return len(value) >= _SHORTEST and not _PLAIN_VALUE.fullmatch(value) and not value.startswith(("/", "~", "./"))


# -- errors and log records, which libraries make ---


def redact_error(error: BaseException) -> BaseException:
    """The error itself, without those that it came from where they show a credential; where its own text does, a plain one
    that says the same without it.

    The traceback stays: it holds lines of code, no values. Prefect keeps what a flow or a task raises, as text.
    """
    if not holds_credential("".join(traceback.format_exception(error))):
        return error
    if not holds_credential(f"{error!r} {error}"):
        error.__cause__ = error.__context__ = None
        return error
    kind = OSError if isinstance(error, OSError) else RuntimeError  # a failure of I/O may be tried again
    return kind(redact(f"{type(error).__name__}: {error}")).with_traceback(error.__traceback__)


class RedactedRecord(logging.LogRecord):
    """A log record whose message and traceback hold no credential, whatever handler formats it."""

    def getMessage(self) -> str:
        """The message with its arguments, redacted."""
        return redact(super().getMessage())


def redact_output() -> None:
    """From now on what this process logs, whatever library it is of, is redacted before any handler sees it; and so is the
    traceback of an error that nobody handles.
    """
    logging.setLogRecordFactory(_make_record)
    sys.excepthook = _write_traceback


def _write_traceback(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, where))))


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = RedactedRecord(*args, **kwargs)
    if isinstance(record.args, tuple):  # uvicorn formats them itself
        record.args = tuple(redact(value) if isinstance(value, str) else value for value in record.args)
    if record.exc_info and record.exc_info[1] is not None:
        text = "".join(traceback.format_exception(record.exc_info[1]))
        if holds_credential(text):
            record.exc_text = redact(text)  # which formatters take in the place of their own
    return record


# -- what stands where ---


def _without_any(text: str, secrets: Collection[str] | None) -> str:
    """Without what is plain to see: percent-encoded text is looked at as it is."""
    found, low = _without_addresses(text), text.lower()
    if ("=" in found or ":" in found or "--" in found) and any(word in low for word in _WORDS):
        found = _LINE.sub(_without_line, _ASSIGNED.sub(_without_assigned, found))
        found = _OPTION.sub(_without_assigned, found)
    if any(word in low for word in _HEADER_WORDS):
        found = _BEARER.sub(rf"\1\2{MASK}", _HEADER.sub(_without_header, found))
    return _without_known(found, secrets)


def _without_quoted(text: str, without: Callable[[str], str]) -> str:
    """Words that hold a credential once the marks of addresses in them are decoded stand decoded, and without it."""
    if "%" not in text or not _QUOTED.search(text):
        return text

    def look(match: re.Match[str]) -> str:
        """The word, or what is left of it."""
        decoded = _QUOTED.sub(lambda mark: chr(int(mark[1], 16)), match[0])
        found = without(decoded)
        return match[0] if found == decoded else found

    return _RUN.sub(look, text)


def _without_known(text: str, secrets: Collection[str] | None) -> str:
    """Without tokens of known form, and these secrets."""
    found = _KNOWN_FORM.sub(MASK, text) if any(form in text for form in _FORMS) else text
    for secret in environment_secrets() if secrets is None else secrets:
        if secret in found:
            found = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, found)
    return found


def _without_addresses(text: str) -> str:
    """Without users and passwords of addresses, and values of their queries."""
    found = _without_users(text) if "://" in text else text
    if "=" in found and ("?" in found or "&" in found or ";" in found):
        shared = "sig=" in text.lower()
        found = _PARAMETER.sub(lambda match: _without_value(match, shared), found)
    return found


def _without_users(text: str) -> str:
    """What is left of one user info may look like another: `a@b:c`."""
    for _ in range(_PASSES):
        before, text = text, _USER.sub(_without_user, text)
        if text == before:
            break
    return text


def _without_user(match: re.Match[str]) -> str:
    if match[1] in _PLACEHOLDERS:
        return match[0]
    scheme = _SCHEME.search(match.string, max(0, match.start() - 20), match.start())
    if scheme is not None and scheme[0].lower() in _CONTAINERS and _CONTAINER.fullmatch(match[1] or ""):
        return match[0]
    return "://"


def _without_value(match: re.Match[str], shared: bool) -> str:
    mark, name, value = match.groups()
    opens = _OPENS.fullmatch(name) or (shared and _SHARED_ACCESS.fullmatch(name))
    if not opens and name.lower() in ("key", "policy", "session"):  # of a bucket, too, `key` is the name of a file
        opens = re.fullmatch(r"[A-Za-z0-9_~-]{12,}", value)
    if opens:
        return f"{mark}{name}={MASK}"
    inner = next((inner for inner in _INNER.finditer(value) if _OPENS.fullmatch(inner[1])), None)
    return match[0] if inner is None else f"{mark}{name}={value[: inner.end()]}{MASK}"


def _without_assigned(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    if match.string[max(0, match.start() - 1) : match.start()].endswith(("?", "&", ";")) and not between.endswith(
        ("'", '"')
    ):
        return match[0]  # a parameter, which was looked at as one
    said = _PLAIN_VALUE.fullmatch(value) or (
        re.search(r"[:\s]", between) and _DOUBTFUL.fullmatch(name) and not _is_random(value)
    )
    return match[0] if said else f"{name}{between}{MASK}"


def _without_line(match: re.Match[str]) -> str:
    before, name, between, value = match.groups()
    said = _PLAIN_VALUE.fullmatch(value) or (_DOUBTFUL.fullmatch(name) and not _is_random(value))
    return match[0] if said else f"{before}{name}{between}{MASK}"


def _without_header(match: re.Match[str]) -> str:
    name, between, scheme, value = match.groups()
    return f"{name}{between}{scheme or ''}{MASK}" if scheme or _is_random(value) else match[0]


def _is_random(value: str) -> bool:
    """Whether a value looks drawn and not written."""
    return len(value) >= 16 and any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and " " not in value
