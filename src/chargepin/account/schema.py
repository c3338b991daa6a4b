"""The SQLite schema of the account service, as numbered steps. A step is never edited: add one.

Every key is led by an account or a charger, so that the tables can be spread over machines. What
is said about a person other than oneself is found by joining through that person's own rows.
"""

APPLICATION_ID = 0x43504143
"""SQLite's own mark of whose file it is: "CPAC"."""

_FIRST = """
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE account (
    account_id TEXT PRIMARY KEY,
    person TEXT NOT NULL UNIQUE,
    created_unix_s INTEGER NOT NULL,
    password TEXT NOT NULL,
    newest_event INTEGER NOT NULL DEFAULT 0,
    audit_sequence INTEGER NOT NULL DEFAULT 0,
    audit_hash BLOB NOT NULL DEFAULT (zeroblob(32))
) WITHOUT ROWID;

CREATE TABLE session (
    account_id TEXT NOT NULL REFERENCES account,
    session_id TEXT NOT NULL,
    app TEXT NOT NULL,
    created_unix_s INTEGER NOT NULL,
    expires_unix_s INTEGER NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    PRIMARY KEY (account_id, session_id)
) WITHOUT ROWID;

CREATE TABLE claim (
    account_id TEXT NOT NULL REFERENCES account,
    charger_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    expires_unix_s INTEGER NOT NULL,
    PRIMARY KEY (account_id, charger_id)
) WITHOUT ROWID;

CREATE TABLE charger (
    charger_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account,
    serial TEXT NOT NULL,
    name TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    rotate_past INTEGER NOT NULL,
    wrapped_key BLOB NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE member (
    charger_id TEXT NOT NULL REFERENCES charger,
    account_id TEXT NOT NULL REFERENCES account,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'user', 'guest', 'installer')),
    until_unix_s INTEGER,
    PRIMARY KEY (charger_id, account_id)
) WITHOUT ROWID;
CREATE INDEX member_of ON member (account_id);
CREATE UNIQUE INDEX one_owner ON member (charger_id) WHERE role = 'owner';

CREATE TABLE offer (
    charger_id TEXT NOT NULL REFERENCES charger,
    secret_hash BLOB NOT NULL UNIQUE,
    person TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user', 'guest', 'installer')),
    made_by TEXT NOT NULL,
    until_unix_s INTEGER,
    expires_unix_s INTEGER NOT NULL,
    PRIMARY KEY (charger_id, secret_hash)
) WITHOUT ROWID;

CREATE TABLE passcode (
    charger_id TEXT NOT NULL REFERENCES charger,
    generation INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES account,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active')),
    salt BLOB NOT NULL,
    profile INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    passcode_tag BLOB NOT NULL,
    verifier_tag BLOB NOT NULL,
    PRIMARY KEY (charger_id, generation)
) WITHOUT ROWID;
CREATE UNIQUE INDEX no_passcode_twice ON passcode (account_id, passcode_tag);
CREATE UNIQUE INDEX one_active ON passcode (charger_id) WHERE state = 'active';

CREATE TABLE event (
    account_id TEXT NOT NULL REFERENCES account,
    event_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    charger_id TEXT NOT NULL,
    generation INTEGER,
    state TEXT,
    person TEXT,
    PRIMARY KEY (account_id, event_id)
) WITHOUT ROWID;

CREATE TABLE audit (
    account_id TEXT NOT NULL REFERENCES account,
    sequence INTEGER NOT NULL,
    unix_s INTEGER NOT NULL,
    running_s REAL NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (account_id, sequence)
) WITHOUT ROWID;
"""

STEPS: tuple[str, ...] = (_FIRST,)
"""Step n makes schema version n of version n - 1; SQLite's user_version counts them."""
