//! The tables and views of a reporting database: stated once, for SQLite, PostgreSQL and the manual.

/// The version of the schema. A database of another version is made anew by an order only.
pub const SCHEMA_VERSION: &str = "1";

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// An exact decimal: `NUMERIC`, or text in SQLite, which has none.
    Exact,
    /// An instant: `TIMESTAMPTZ`, or RFC 3339 in UTC with milliseconds.
    Time,
    /// A day in UTC: `DATE`, or YYYY-MM-DD.
    Day,
    /// `BOOLEAN`, or 0 and 1.
    Bool,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// How many of the first columns make its key.
    pub key: usize,
    /// Its columns.
    pub columns: &'static [Column],
    /// Columns by which rows are looked up, one list an index.
    pub indexes: &'static [&'static str],
    /// Whether a row stays as it was when it comes again.
    pub is_kept: bool,
}

/// A view.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// Its statement, the same for both kinds of databases.
    pub select: &'static str,
}

macro_rules! tables {
    ($($(#[doc = $about:literal])+ $table:ident $name:literal key $key:literal $(index $indexes:expr;)? $(kept $kept:literal)? {
        $($column:ident: $kind:ident),* $(,)?
    })*) => {
        $(
            $(#[doc = $about])+
            pub const $table: &Table = &Table {
                name: $name,
                about: concat!($($about),+),
                key: $key,
                columns: &[$(Column { name: stringify!($column), kind: Kind::$kind }),*],
                indexes: tables!(@indexes $($indexes)?),
                is_kept: tables!(@kept $($kept)?),
            };
        )*

        /// Every table, in the order of the manual.
        pub const TABLES: &[&Table] = &[$($table),*];
    };
    (@indexes) => { &[] };
    (@indexes $indexes:expr) => { $indexes };
    (@kept) => { false };
    (@kept $kept:literal) => { true };
}

tables! {
    /// A session, from its start on. What runs has the energy and the cost of its last event; they are final at its end.
    SESSIONS "sessions" key 1 index &["started_day", "settled_day, currency", "charger, started_at", "processor", "account", "state"]; {
        id: Text, state: Text, is_refused: Bool, charger: Text, connector: Int, credential: Text, protocol: Text,
        transaction_id: Text, started_at: Time, started_day: Day, ended_at: Time, end_reason: Text, settled_at: Time,
        settled_day: Day, energy_uwh: Int, energy_kwh: Exact, quarantined_kwh: Exact, readings: Int, currency: Text,
        net: Exact, gross: Exact, payable_minor: Int, held_minor: Int, captured_minor: Int, released_minor: Int,
        refunded_minor: Int, shortfall_minor: Int, processor: Text, account: Text, tariff: Text, tariff_sha256: Text,
        zone: Text, flags: Text,
    }
    /// The exact tax of a session at one rate.
    SESSION_TAXES "session_taxes" key 2 {
        session: Text, number: Int, percent: Exact, net: Exact, tax: Exact, currency: Text,
    }
    /// A hold of a session or a top-up at a processor, or on an account.
    HOLDS "holds" key 1 index &["payment", "state", "processor"]; {
        id: Text, payment: Text, owner: Text, processor: Text, account: Text, reference: Text, state: Text,
        authorized_minor: Int, captured_minor: Int, refunded_minor: Int, currency: Text, expires_at: Time,
    }
    /// An operation that was asked of a processor.
    OPERATIONS "operations" key 1 index &["payment", "kind, state, answered_day", "requested_at"]; {
        id: Text, payment: Text, hold: Text, kind: Text, processor: Text, reference: Text, state: Text, amount_minor: Int,
        currency: Text, requested_at: Time, answered_at: Time, answered_day: Day,
    }
    /// Money that an issuer took back from a capture.
    DISPUTES "disputes" key 2 {
        hold: Text, number: Int, payment: Text, processor: Text, amount_minor: Int, currency: Text, state: Text,
    }
    /// An invoice, or a credit note, which has a total below zero.
    INVOICES "invoices" key 1 index &["series, number_in_series", "session", "issued_day"]; {
        number: Text, series: Text, number_in_series: Int, kind: Text, issued_at: Time, issued_day: Day, session: Text,
        total_minor: Int, currency: Text, corrects: Text, hash: Text,
    }
    /// The tax of an invoice at one rate.
    INVOICE_TAXES "invoice_taxes" key 3 {
        invoice: Text, country: Text, percent: Exact, tax_minor: Int, currency: Text, issued_day: Day,
    }
    /// The receipt of a session whose every hold has ended.
    RECEIPTS "receipts" key 1 index &["issued_day"]; {
        session: Text, issued_at: Time, issued_day: Day, charger: Text, credential: Text, energy_uwh: Int,
        total_minor: Int, currency: Text,
    }
    /// An entry of the books.
    LEDGER_ENTRIES "ledger_entries" key 3 index &["payment", "day"]; {
        partition_id: Int, page: Int, place: Int, id: Text, kind: Text, at: Time, day: Day, payment: Text, operation: Text,
        corrects: Text,
    }
    /// One side of an entry of the books.
    LEDGER_LEGS "ledger_legs" key 4 index &["code, day", "day", "account_id, day", "processor, day"]; {
        partition_id: Int, page: Int, place: Int, leg: Int, day: Day, kind: Text, code: Text, account: Text, ledger: Text,
        currency: Text, debit_minor: Int, credit_minor: Int, processor: Text, account_id: Text, operator: Text,
        tax_country: Text, tax_percent: Exact,
    }
    /// A prepaid account as it stands.
    ACCOUNTS "accounts" key 1 {
        id: Text, state: Text, currency: Text, paid_minor: Int, promotional_minor: Int, held_minor: Int,
        credit_limit_minor: Int, available_minor: Int, open_holds: Int,
    }
    /// A top-up of an account by a card.
    TOP_UPS "top_ups" key 1 index &["account", "ordered_day"]; {
        id: Text, account: Text, amount_minor: Int, currency: Text, credential: Text, ordered_at: Time, ordered_day: Day,
        processor: Text, credited_minor: Int, refunded_minor: Int, lost_minor: Int, not_taken_minor: Int,
    }
    /// A settlement batch of a processor.
    SETTLEMENT_BATCHES "settlement_batches" key 2 index &["day"]; {
        processor: Text, batch: Text, revision: Int, at: Time, day: Day, came_at: Time, state: Text, lines: Int,
        net_minor: Int, bank_minor: Int, settled_minor: Int, fees_minor: Int, suspense_minor: Int, currency: Text,
        reason: Text, same_as: Text,
    }
    /// A line of a settlement batch. Of old batches the gate keeps only the totals; lines that were taken in before stay.
    SETTLEMENT_LINES "settlement_lines" key 3 index &["operation", "state"]; {
        processor: Text, batch: Text, row_number: Int, kind: Text, operation: Text, reference: Text, state: Text, why: Text,
        ours_minor: Int, gross_minor: Int, fee_minor: Int, net_minor: Int, currency: Text,
    }
    /// A charger that ever connected.
    CHARGERS "chargers" key 1 {
        id: Text, firmware: Text, connectors: Text, meter_key: Text,
    }
    /// A processor that ever connected.
    PROCESSORS "processors" key 1 {
        id: Text, is_drained: Bool, currencies: Text,
    }
    /// An event of the feed, once.
    EVENTS "events" key 1 index &["day, type", "session"]; kept true {
        id: Text, type: Text, at: Time, day: Day, partition_id: Int, sequence: Int, session: Text, charger: Text,
        operation: Text, account: Text, processor: Text, batch: Text, number: Text, amount_minor: Int,
        currency: Text, shortfall_minor: Int, lines: Int, reason: Text, code: Text,
    }
    /// A currency, and how many decimals its minor unit has: an amount is its minor units / 10^exponent.
    CURRENCIES "currencies" key 1 {
        code: Text, exponent: Int,
    }
    /// How far the database has come: `progress` and `schema`.
    PROGRESS "reporting_progress" key 1 {
        name: Text, value: Text,
    }
    /// How far the entries of a partition's books are taken in.
    LEDGER_PLACES "reporting_ledger" key 1 {
        partition_id: Int, page: Int, entries: Int, bytes: Int,
    }
}

/// Every view, in the order of the manual. Sums are in minor units.
pub const VIEWS: &[View] = &[
    View {
        name: "v_trial_balance",
        about: "An account of the books in a currency: what `ledger trial-balance` shows.",
        select: "SELECT code, account, currency, ledger, SUM(debit_minor) AS debits_minor, SUM(credit_minor) AS credits_minor, \
            CASE WHEN code LIKE '1%' OR code LIKE '5%' OR code = 'M010' THEN SUM(debit_minor) - SUM(credit_minor) \
            ELSE SUM(credit_minor) - SUM(debit_minor) END AS balance_minor \
            FROM ledger_legs GROUP BY code, account, currency, ledger",
    },
    View {
        name: "v_daily_accounts",
        about: "What an account of the books moved on a day.",
        select: "SELECT day, code, account, currency, ledger, SUM(debit_minor) AS debits_minor, \
            SUM(credit_minor) AS credits_minor FROM ledger_legs GROUP BY day, code, account, currency, ledger",
    },
    View {
        name: "v_daily_revenue",
        about: "What was sold on a day, less what was taken back: net, tax, rounding and all of it.",
        select: "SELECT day, currency, \
            SUM(CASE WHEN code IN ('2020', '4010') THEN credit_minor - debit_minor ELSE 0 END) AS net_minor, \
            SUM(CASE WHEN code = '2030' THEN credit_minor - debit_minor ELSE 0 END) AS tax_minor, \
            SUM(CASE WHEN code = '5040' THEN credit_minor - debit_minor ELSE 0 END) AS rounding_minor, \
            SUM(credit_minor - debit_minor) AS gross_minor \
            FROM ledger_legs WHERE code IN ('2020', '2030', '4010', '5040') AND kind <> 'operator paid' \
            GROUP BY day, currency",
    },
    View {
        name: "v_vat_by_rate",
        about: "The tax of a country at a rate that was booked on a day.",
        select: "SELECT day, tax_country AS country, tax_percent AS percent, currency, \
            SUM(credit_minor - debit_minor) AS tax_minor \
            FROM ledger_legs WHERE code = '2030' GROUP BY day, tax_country, tax_percent, currency",
    },
    View {
        name: "v_daily_processors",
        about: "What a processor took, settled, kept as fees, was to give back and reserved on a day.",
        select: "SELECT day, processor, currency, \
            SUM(CASE WHEN code = '1110' THEN debit_minor ELSE 0 END) AS captured_minor, \
            SUM(CASE WHEN code = '1110' THEN credit_minor ELSE 0 END) AS settled_minor, \
            SUM(CASE WHEN code = '5010' THEN debit_minor - credit_minor ELSE 0 END) AS fees_minor, \
            SUM(CASE WHEN code = '2040' THEN credit_minor ELSE 0 END) AS refunds_minor, \
            SUM(CASE WHEN code = '1140' THEN debit_minor - credit_minor ELSE 0 END) AS disputed_minor, \
            SUM(CASE WHEN code = '2050' THEN credit_minor - debit_minor ELSE 0 END) AS suspense_minor, \
            SUM(CASE WHEN code = 'M010' THEN debit_minor - credit_minor ELSE 0 END) AS held_minor \
            FROM ledger_legs WHERE processor IS NOT NULL GROUP BY day, processor, currency",
    },
    View {
        name: "v_daily_prepaid",
        about: "How the paid and the promotional money of a prepaid account changed on a day.",
        select: "SELECT day, account_id, currency, \
            SUM(CASE WHEN code = '2010' THEN credit_minor - debit_minor ELSE 0 END) AS paid_minor, \
            SUM(CASE WHEN code = '2011' THEN credit_minor - debit_minor ELSE 0 END) AS promotional_minor \
            FROM ledger_legs WHERE code IN ('2010', '2011') GROUP BY day, account_id, currency",
    },
    View {
        name: "v_account_movements",
        about: "A movement of a prepaid account: money comes by `credit_minor` and goes by `debit_minor`.",
        select: "SELECT l.account_id, e.at, e.kind, CASE WHEN l.code = '2010' THEN 'paid' ELSE 'promotional' END AS money, \
            l.debit_minor, l.credit_minor, l.currency, e.payment, e.operation, e.id AS entry \
            FROM ledger_legs l JOIN ledger_entries e \
            ON e.partition_id = l.partition_id AND e.page = l.page AND e.place = l.place \
            WHERE l.code IN ('2010', '2011')",
    },
    View {
        name: "v_open_holds",
        about: "A hold that has not ended.",
        select: "SELECT * FROM holds WHERE state IN ('authorizing', 'stand-in', 'open', 'reversing')",
    },
    View {
        name: "v_captures",
        about: "A capture that was approved.",
        select: "SELECT * FROM operations WHERE kind = 'capture' AND state = 'approved'",
    },
    View {
        name: "v_refunds",
        about: "A refund that was approved.",
        select: "SELECT * FROM operations WHERE kind = 'refund' AND state = 'approved'",
    },
    View {
        name: "v_daily_sessions",
        about: "The sessions that were settled on a day.",
        select: "SELECT settled_day AS day, currency, COUNT(*) AS sessions, SUM(energy_uwh) AS energy_uwh, \
            SUM(payable_minor) AS payable_minor, SUM(captured_minor) AS captured_minor, \
            SUM(refunded_minor) AS refunded_minor, SUM(shortfall_minor) AS shortfall_minor \
            FROM sessions WHERE settled_day IS NOT NULL GROUP BY settled_day, currency",
    },
    View {
        name: "v_invoice_series",
        about: "A series of invoices or credit notes: complete when `documents` is `last`.",
        select: "SELECT series, currency, COUNT(*) AS documents, MAX(number_in_series) AS last, \
            SUM(total_minor) AS total_minor FROM invoices GROUP BY series, currency",
    },
    View {
        name: "v_daily_invoices",
        about: "The invoices and credit notes of a day.",
        select: "SELECT issued_day AS day, kind, currency, COUNT(*) AS documents, SUM(total_minor) AS total_minor \
            FROM invoices GROUP BY issued_day, kind, currency",
    },
    View {
        name: "v_invoice_taxes_by_rate",
        about: "The tax on the invoices and credit notes of a day.",
        select: "SELECT issued_day AS day, country, percent, currency, SUM(tax_minor) AS tax_minor \
            FROM invoice_taxes GROUP BY issued_day, country, percent, currency",
    },
    View {
        name: "v_receipts",
        about: "A receipt with the number of the session's first invoice.",
        select: "SELECT r.*, (SELECT i.number FROM invoices i WHERE i.session = r.session AND i.total_minor > 0 \
            ORDER BY i.issued_at, i.number LIMIT 1) AS number FROM receipts r",
    },
    View {
        name: "v_settlement_differences",
        about: "A line of a settlement batch that differs from ours, fits nothing, or could not be booked.",
        select: "SELECT * FROM settlement_lines WHERE state IN ('differs', 'extra', 'set aside')",
    },
];

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Kind {
    /// The type of a column.
    pub const fn sql(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Kind::Int, Dialect::Sqlite) => "INTEGER",
            (Kind::Bool, Dialect::Sqlite) => "INTEGER",
            (Kind::Text | Kind::Exact | Kind::Time | Kind::Day, Dialect::Sqlite) | (Kind::Text, Dialect::Postgres) => {
                "TEXT"
            }
            (Kind::Int, Dialect::Postgres) => "BIGINT",
            (Kind::Exact, Dialect::Postgres) => "NUMERIC",
            (Kind::Time, Dialect::Postgres) => "TIMESTAMPTZ",
            (Kind::Day, Dialect::Postgres) => "DATE",
            (Kind::Bool, Dialect::Postgres) => "BOOLEAN",
        }
    }
}

impl Table {
    fn key_columns(&self) -> String {
        let names: Vec<&str> = self.columns.iter().take(self.key).map(|column| column.name).collect();
        names.join(", ")
    }

    /// The statement's end that makes a row that comes again replace the one before.
    pub fn on_conflict(&self) -> String {
        let values: Vec<String> =
            self.columns.iter().skip(self.key).map(|column| format!("{0} = excluded.{0}", column.name)).collect();
        let key = self.key_columns();
        if self.is_kept || values.is_empty() {
            format!("ON CONFLICT ({key}) DO NOTHING")
        } else {
            format!("ON CONFLICT ({key}) DO UPDATE SET {}", values.join(", "))
        }
    }

    /// The names of its columns, with commas between.
    pub fn column_names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }
}

/// The statements that make the tables and views.
pub fn create(dialect: Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    for table in TABLES {
        let columns: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let must = if place < table.key { " NOT NULL" } else { "" };
                format!("{} {}{must}", column.name, column.kind.sql(dialect))
            })
            .collect();
        // The key is the table itself: no second copy of it.
        let end = if dialect == Dialect::Sqlite { " WITHOUT ROWID" } else { "" };
        let (name, key) = (table.name, table.key_columns());
        statements.push(format!("CREATE TABLE {name} ({}, PRIMARY KEY ({key})){end}", columns.join(", ")));
        for columns in table.indexes {
            let index = columns.replace(", ", "_");
            statements.push(format!("CREATE INDEX {name}_{index} ON {name} ({columns})"));
        }
    }
    statements.extend(VIEWS.iter().map(|view| format!("CREATE VIEW {} AS {}", view.name, view.select)));
    statements
}

/// The statements that remove them, whatever is there of them.
pub fn drop_all() -> Vec<String> {
    let views = VIEWS.iter().map(|view| format!("DROP VIEW IF EXISTS {}", view.name));
    let tables = TABLES.iter().map(|table| format!("DROP TABLE IF EXISTS {}", table.name));
    views.chain(tables).collect()
}
