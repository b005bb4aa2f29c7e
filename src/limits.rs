//! Every bound of the process: queues, tables, frames, retries.

use crate::units::{Power, TimeSpan};

/// Past sessions in a charger's state, kept to recognise repeated and stale starts.
pub const KEYS_REMEMBERED: usize = 16;

/// Most past sessions in a charger's state while their money is in progress.
pub const KEYS_REMEMBERED_MAX: usize = 256;

/// Refused credentials in a row after which a charger has to wait.
pub const REFUSALS_BEFORE_PAUSE: u16 = 5;

/// How long it has to wait then.
pub const REFUSAL_PAUSE: TimeSpan = TimeSpan::from_secs(60);

/// Bytes of a payment's history after which repetitions, inquiries and missing answers are no longer recorded in it.
pub const HISTORY_BYTES: usize = 2_048;

/// Disputes of one payment, those that were won included.
pub const DISPUTES_PER_PAYMENT: usize = 256;

/// Brackets that may be open at a place of a configuration.
pub const CONFIG_NESTING: usize = 16;

/// Longest configuration, and longest map of a settlement file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 16 << 20;

/// Longest text of a setting, in characters: names and addresses stand in one line of receipts and invoices.
pub const SETTING_CHARS_MAX: usize = 200;

/// Longest frame of the native protocol, counted in bytes after its length field.
pub const FRAME_MAX: u32 = 64 * 1_024;

/// Chargers on one site controller's connection.
pub const CHANNELS_PER_LINK: usize = 1_024;

/// Readings in one MeterValues frame.
pub const READINGS_PER_FRAME: usize = 512;

/// Connectors of one charger.
pub const CONNECTORS_PER_CHARGER: usize = 64;

/// Sessions that a charger may name in its Hello.
pub const SESSIONS_PER_HELLO: usize = 1_024;

/// Lines in one part of a settlement batch.
pub const SETTLEMENT_LINES_PER_PART: usize = 512;

/// Processors in the state of a partition.
pub const PROCESSORS_KNOWN: usize = 256;

/// Entries in each list of a processor's capabilities.
pub const CAPABILITIES_LISTED: usize = 256;

/// Longest text of a message that is meant for a person, in bytes; longer ones of ours are cut.
pub const MESSAGE_TEXT_MAX: usize = 256;

/// Longest price text and receipt address, in bytes.
pub const MESSAGE_LONG_TEXT_MAX: usize = 1_024;

/// Longest firmware version and name of a processor's machine, in bytes.
pub const MESSAGE_NAME_MAX: usize = 64;

/// Readings of a session that a charger may have unacknowledged.
pub const CHARGER_WINDOW: u32 = 1_024;

/// Callbacks that a processor's connection may have unacknowledged.
pub const PROCESSOR_WINDOW: u32 = 4_096;

/// A peer sends `Hello` within this time after its handshake, or the connection is closed.
pub const HELLO_TIMEOUT: TimeSpan = TimeSpan::from_secs(10);

/// Longest message of OCPP, in bytes.
pub const OCPP_MESSAGE_MAX: usize = 256 * 1_024;

/// Levels of nesting in a message of OCPP; the deepest of the protocol has eleven.
pub const OCPP_DEPTH_MAX: usize = 32;

/// Calls of an OCPP charger that may wait for their answers.
pub const OCPP_CALLS_WAITING: usize = 64;

/// A call of an OCPP charger is answered within this time, or its connection is closed: it repeats the call.
pub const OCPP_ANSWER_MAX: TimeSpan = TimeSpan::from_secs(90);

/// How long an OCPP charger may take for the answer to a call of the gate.
pub const OCPP_CALL_TIMEOUT: TimeSpan = TimeSpan::from_secs(30);

/// Longest text that a meter signed and that is kept, in bytes.
pub const SIGNED_VALUE_BYTES_MAX: usize = 8 * 1_024;

/// Signed values of a meter that are kept for a session.
pub const SIGNED_VALUES_MAX: usize = 4;

/// How long the management system behind the gate may take to answer a call of an OCPP charger; then the gate answers.
pub const OCPP_FORWARD_TIMEOUT: TimeSpan = TimeSpan::from_secs(20);

/// How long an OCPP charger may take for the answer to a call of the management system: a stop may wait behind it.
pub const OCPP_FORWARDED_CALL_TIMEOUT: TimeSpan = TimeSpan::from_secs(10);

/// Texts that may wait for the management system behind the gate, for each charger.
pub const OCPP_FORWARDED_WAITING: usize = 64;

/// Parts of a call of an OCPP charger about an archived session: as many readings as its longest message has room for.
pub const LATE_REPORTS_MAX: usize = 4_096;

/// How long after the order to stop a session an OCPP charger is ordered again.
pub const OCPP_STOP_AGAIN: TimeSpan = TimeSpan::from_secs(10);

/// Ordered starts whose credentials a connection of an OCPP charger keeps.
pub const OCPP_STARTS_REMEMBERED: usize = 16;

/// How long an OCPP charger may take for the answer to a message for its display.
pub const OCPP_DISPLAY_TIMEOUT: TimeSpan = TimeSpan::from_secs(5);

/// How often the display of an OCPP 1.6 charger gets the running cost of a session.
pub const OCPP_DISPLAY_INTERVAL: TimeSpan = TimeSpan::from_secs(30);

/// How long a credential counts as presented that an OCPP charger names in an Authorize only.
pub const OCPP_AUTHORIZED_MAX: TimeSpan = TimeSpan::from_secs(300);

/// A charger that sends nothing over its WebSocket for so long is asked whether it is there.
pub const WEBSOCKET_PING: TimeSpan = TimeSpan::from_secs(60);

/// How long it may take to answer; then its connection is closed.
pub const WEBSOCKET_PONG_TIMEOUT: TimeSpan = TimeSpan::from_secs(30);

/// How long a message over a WebSocket may take from its first byte to its last.
pub const WEBSOCKET_MESSAGE_TIMEOUT: TimeSpan = TimeSpan::from_secs(30);

/// How much older than its arrival the start of an OCPP session is that was offline.
pub const OCPP_OFFLINE_AFTER: TimeSpan = TimeSpan::from_secs(300);

/// How long the stop of a session may take whose OCPP charger restarted, or reported its connector free.
pub const OCPP_STOP_MISSING: TimeSpan = TimeSpan::from_secs(15);

/// The most power of a connector of an OCPP charger that reports energy before anything else: 350 kW.
pub const OCPP_POWER_UNKNOWN: Power = Power::from_milliwatts(350_000_000);

/// Interval of an OCPP charger's heartbeats.
pub const OCPP_HEARTBEAT: TimeSpan = TimeSpan::from_secs(300);

/// Sessions, and transactions without a credential, that a connection of an OCPP charger keeps.
pub const OCPP_SESSIONS_KNOWN: usize = 64;

/// A frame that was begun is finished within this time, or its sender is closed.
pub const FRAME_TIMEOUT: TimeSpan = TimeSpan::from_secs(10);

/// Longest interval between two messages of a peer.
pub const HEARTBEAT: TimeSpan = TimeSpan::from_secs(30);

/// Heartbeats that may be missed before a connection is closed.
pub const HEARTBEATS_MISSED: i64 = 3;

/// How long a draining connection may go on before it is closed.
pub const DRAIN_TIMEOUT: TimeSpan = TimeSpan::from_secs(30);

/// Bytes of encoded records that one turn of a machine may append under one permit of the journal: a tariff that is pinned,
/// or a reading after a year without any, cut at every change of price.
pub const PERMIT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Effects that one turn of a machine may queue behind the journal's watermark.
pub const PERMIT_EFFECTS_MAX: usize = 64;

/// Bytes of encoded records in one batch from a shard to the journal writer: a buffer is full when one more permit does not
/// fit, so about 1 MiB gathers under load. A shard holds at most
/// `(BATCHES_IN_FLIGHT_MAX + 1)` buffers of this size.
pub const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Batches of one shard that the journal writer holds at a time; meanwhile the next one gathers.
pub const BATCHES_IN_FLIGHT_MAX: usize = 2;

/// Effects of one shard that may wait for the journal's watermark.
pub const GATE_EFFECTS_MAX: usize = 64 * 1024;

/// Bytes of encoded records that one group commit makes durable together, which recovery keeps in memory at a time.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(PERMIT_BYTES_MAX <= BATCH_BYTES_MAX && BATCH_BYTES_MAX <= GROUP_BYTES_MAX);
/// Bytes of the ballast file in the data directory: room to give back on a full disk, on which the log could not even
/// be opened.
pub const BALLAST_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that have to be left on the disk beside the ballast before it is placed: room for the log to turn over.
pub const BALLAST_SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// Most open holds of one account: so many sessions can it pay at once.
pub const ACCOUNT_OPEN_HOLDS: usize = 16_384;

/// Closed holds that an account keeps whatever their age.
pub const ACCOUNT_CLOSED_HOLDS: usize = 64;

/// Most closed holds that an account keeps while they are younger than [`ACCOUNT_MEMORY`].
pub const ACCOUNT_CLOSED_HOLDS_MAX: usize = 4_096;

/// How long an account keeps closed holds beyond [`ACCOUNT_CLOSED_HOLDS`].
pub const ACCOUNT_MEMORY: TimeSpan = TimeSpan::from_secs(48 * 3_600);

/// Refused authorizations that an account keeps.
pub const ACCOUNT_DECLINED_HOLDS: usize = 64;

/// Operations that an account keeps of one hold.
pub const ACCOUNT_OPERATIONS_PER_HOLD: usize = 32;

/// Captures of one hold. They are dropped only with their hold, so there are fewer of them than operations of a hold.
pub const ACCOUNT_CAPTURES_PER_HOLD: usize = 16;

/// Orders (top-ups, grants, changes) that an account keeps.
pub const ACCOUNT_ORDERS: usize = 64;

/// Movements that an account keeps for its statement; older ones are in the log.
pub const ACCOUNT_MOVEMENTS: usize = 32;

/// Top-ups that a partition keeps, those in progress included.
pub const TOP_UPS_KEPT: usize = 1_024;

/// Grants of promotional money on one account.
pub const ACCOUNT_GRANTS: usize = 16;

/// Credentials of one account.
pub const ACCOUNT_CREDENTIALS: usize = 256;

/// The largest amount, balance and credit limit of an account, in minor units: sums of a few of them fit 64 bits.
pub const ACCOUNT_AMOUNT_MAX: i64 = 1_000_000_000_000_000;

const _: () = assert!(ACCOUNT_CAPTURES_PER_HOLD < ACCOUNT_OPERATIONS_PER_HOLD);
const _: () = assert!(ACCOUNT_CLOSED_HOLDS <= ACCOUNT_CLOSED_HOLDS_MAX);
/// Levels of nesting that the JSON reader follows; OCPI objects need fewer than ten.
pub const JSON_DEPTH_MAX: usize = 64;

/// Bytes of a tariff's text. It is written to the journal with the first session that is pinned to it.
pub const TARIFF_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(TARIFF_BYTES_MAX + 256 * 1024 <= PERMIT_BYTES_MAX);

/// Price components of one tariff. A session keeps a volume and at least one line of its trail for each that it used.
pub const TARIFF_COMPONENTS_MAX: usize = 1_024;

/// Lines in the trail of one session's price; then older ones are summed up for each component. A week of prices by the hour
/// for energy and time has fewer.
pub const SEGMENTS_MAX: usize = 384;

/// Bytes of a session's state in memory, and of a line and a volume in it.
pub const SESSION_BYTES_MAX: usize = 64 * 1024;
pub(crate) const SEGMENT_BYTES: usize = 32;
pub(crate) const VOLUME_BYTES: usize = 16;

const _: () = assert!(SEGMENTS_MAX <= TARIFF_COMPONENTS_MAX);
const _: () = assert!(TARIFF_COMPONENTS_MAX * (SEGMENT_BYTES + VOLUME_BYTES) < SESSION_BYTES_MAX);

/// Bytes of an archived session with a tariff of a few kilobytes, whatever the course of its meter.
pub const SESSION_RECORD_BYTES_MAX: usize = 256 * 1024;

/// Documents after the invoice whose credit record stands on the receipt; each holds the whole tariff.
pub const CREDIT_RECORDS_MAX: usize = 8;

/// Bytes of an archived session in any case: a tariff of the largest size, and as many copies of it as its receipt can hold.
pub const ARCHIVE_RECORD_MAX: usize = 32 * 1024 * 1024;

const _: () =
    assert!((CREDIT_RECORDS_MAX + 2) * 2 * (TARIFF_BYTES_MAX + SESSION_RECORD_BYTES_MAX) < ARCHIVE_RECORD_MAX);

/// Highest value of a lifetime register, in µWh: 1 TWh. Readings above it, or as far below zero, are suspects.
pub const REGISTER_MAX: i64 = 1_000_000_000_000_000_000;

const _: () = assert!(REGISTER_MAX.checked_mul(4).is_some(), "differences of registers, and what jumps add, fit");

/// Highest power that may be configured for a connector, in mW: 1 GW; the largest today have a 270th of it.
pub const CONNECTOR_POWER_MAX: u64 = 1_000_000_000_000;

/// Earliest plausible instant of a reading, in ms since 1970. The range is the years 2000 to 2199.
pub const READ_FROM: i64 = 946_684_800_000;
/// The end of them.
pub const READ_UNTIL: i64 = 7_258_118_400_000;

/// How far a session's start may lie before its arrival, where clocks are compared: energy flows after the answer.
pub const START_AGE_MAX: TimeSpan = TimeSpan::from_secs(3_600);

/// Shortest time without movement of a register after which a car counts as parked, where no power is reported.
pub const STILL_MIN: TimeSpan = TimeSpan::from_secs(60);

/// The longest such time, however coarse the meter.
pub const STILL_MAX: TimeSpan = TimeSpan::from_secs(300);

const _: () = assert!(0 < STILL_MIN.ms() && STILL_MIN.ms() < STILL_MAX.ms());

/// Remarks, and errors, on one document that are listed; the others are counted.
pub const FINDINGS_MAX: usize = 200;

/// Bytes of a CDR, a run or a list of readings that is priced from a file.
pub const CDR_BYTES_MAX: usize = 64 << 20;

/// Pieces into which one meter interval may fall at price boundaries: a year of changes every quarter of an hour.
pub const SLICES_PER_READING_MAX: usize = 40_000;
/// Holds of one payment: first credential, another one tapped later, a fresh one for an expiring one, a failover.
pub const HOLDS_PER_PAYMENT: usize = 4;

/// Operations of one payment, inquiries not counted. Inquiries are numbered above, so this stays below 256.
pub const OPERATIONS_PER_PAYMENT: u16 = 255;

/// Processor notifications of one session that are kept to recognise repetitions.
pub const NOTIFICATIONS_REMEMBERED: usize = 16;

const _: () = assert!(OPERATIONS_PER_PAYMENT < 256, "inquiry numbers keep their target in eight bits");

/// Messages that may wait for a shard: turns (one for each connection) and inputs from other actors.
pub const SHARD_MAILBOX: usize = 16 * 1024;

/// Messages that may wait for a processor's actor.
pub const PROCESSOR_MAILBOX: usize = 64 * 1024;

/// Inputs for other shards that a shard keeps while their mailboxes are full.
pub const UNDELIVERED_MAX: usize = 16 * 1024;

/// How long a start may wait for a shard that is behind; then it is refused, and the driver may try again.
pub const START_WAIT_MAX: TimeSpan = TimeSpan::from_secs(3);

/// Answers, backups and requests in the mailbox of the snapshot scheduler.
pub const SNAPSHOT_SCHEDULER_MAILBOX: usize = 512;

/// Cells that a shard writes for a snapshot between other work: some 0.2 ms.
pub const SNAPSHOT_CELLS_AT_ONCE: usize = 256;

/// Receipts that chargers are to get again and that wait at a shard for the archive: 1 MiB.
pub const RECEIPTS_UNFETCHED: usize = 16 * 1024;

/// Closed sessions that may wait for the archive.
pub const ARCHIVE_MAILBOX: usize = 4 * 1024;

/// From a connection's arrival to the end of its TLS handshake.
pub const HANDSHAKE_DEADLINE: TimeSpan = TimeSpan::from_secs(5);

/// TLS handshakes in progress at once; further connections wait in the kernel's backlog.
pub const HANDSHAKES_MAX: usize = 4_096;

/// The same at the processors' listener. The bounds are separate, so that a crowd at one listener does not close the
/// other.
pub const PROCESSOR_HANDSHAKES_MAX: usize = 256;

/// The part of a listener's handshakes that one source address may have in progress: half of them.
pub const HANDSHAKES_PER_ADDRESS_DIVISOR: usize = 2;

/// Certificates between a peer's and its authority of which one copy serves all connections.
pub const CERTIFICATES_SHARED: usize = 32;

/// Open files that are kept beside those in use at a start, for the journal, snapshots, backups, the console and its
/// probes; connections of peers never take them.
pub const DESCRIPTORS_RESERVED: u64 = 128 + CONSOLE_CONNECTIONS as u64 + PROBE_CONNECTIONS as u64;

/// Requests of a node that wait for replies: of each question of the console one for each shard, and orders.
pub const REPLIES_WAITING_MAX: usize = 16 * 1_024;

/// Connections of the console at once. They exceed [`CONSOLE_QUESTIONS`], so that some are always accepted.
pub const CONSOLE_CONNECTIONS: usize = 96;

/// How long the head of a request to the console may take, and a connection be idle between two requests.
pub const CONSOLE_HEAD_MAX: TimeSpan = TimeSpan::from_secs(5);

/// How long the body of a request to the console may take.
pub const CONSOLE_BODY_MAX: TimeSpan = TimeSpan::from_secs(10);

/// Longest head and longest body of a request to the console, in bytes.
pub const CONSOLE_HEAD_BYTES: usize = 16 * 1024;
/// The body: a part of a settlement batch with long references.
pub const CONSOLE_BODY_BYTES: usize = 512 * 1024;
/// The form of a page with a settlement file: longer ones are imported by the command line.
pub const CONSOLE_FILE_BYTES: usize = 8 << 20;

/// Longest session that the console prices by a tariff.
pub const TARIFF_SESSION_MAX: TimeSpan = TimeSpan::from_secs(7 * 24 * 3_600);

/// Requests for readiness and for metrics that may wait for the current one.
pub const PROBES_WAITING: usize = 32;

/// Connections of the listener for probes at once.
pub const PROBE_CONNECTIONS: usize = 32;

const _: () = assert!(CONSOLE_QUESTIONS < CONSOLE_CONNECTIONS);

/// Connections that wait in the kernel to be accepted, per listener.
pub const LISTEN_BACKLOG: i32 = 4_096;

/// Failed handshakes per source address and minute; then the address waits until its minute is over.
pub const FAILED_HANDSHAKES_PER_MINUTE_MAX: u32 = 100;

/// Bytes that a connection holds back for a peer that reads slowly; then it is closed.
pub const OUTGOING_BYTES_MAX: usize = 1024 * 1024;

/// How long a peer may take nothing of what waits for it; then it is closed.
pub const WRITE_STALL_MAX: TimeSpan = TimeSpan::from_secs(20);

/// How long the last bytes of a connection may take to leave before it is closed without them.
pub const FAREWELL_MAX: TimeSpan = TimeSpan::from_secs(5);

/// Refused peers that the console lists.
pub const RECENT_REFUSALS: usize = 100;

/// Documents of one partition that may wait for a number of one family of invoice series at once; further ones wait
/// for these. A series keeps as many assigned numbers of each partition, to repeat them.
pub const DOCUMENTS_ASKED: u64 = 64;

/// Finished settlement batches of one processor that its partition keeps line by line.
pub const SETTLEMENT_BATCHES_KEPT: usize = 64;

/// Bytes of the lines of finished batches that a partition keeps, of all its processors together; of older ones the totals
/// are left, first of the processor that has the most.
pub const SETTLEMENT_KEPT_BYTES: usize = 64 << 20;

/// Unfinished settlement batches of one processor.
pub const SETTLEMENT_UNFINISHED_MAX: usize = 64;

/// Bytes of the lines of unfinished batches of one processor: a batch of a million lines with references fits.
pub const SETTLEMENT_UNFINISHED_BYTES: usize = 64 << 20;

/// How long a batch may wait for its next part before it is discarded.
pub const SETTLEMENT_UNFINISHED_FOR: TimeSpan = TimeSpan::from_secs(7 * 24 * 3_600);

/// How often one batch may be taken back and come again.
pub const SETTLEMENT_REVISIONS_MAX: u32 = 256;

/// Longest reference of a settlement line, and longest reason why a batch is taken back, in bytes.
pub const SETTLEMENT_TEXT_MAX: usize = 256;

/// Bytes of a list that `recon import --dry-run` sends to a running gate.
pub const SETTLEMENT_PREVIEW_BYTES_MAX: usize = 64 << 20;

/// Lines of a batch that one answer of the console lists, and lines that fit nothing in a report.
pub const SETTLEMENT_LINES_LISTED: usize = 10_000;

/// Settlement batches of which a partition keeps the totals, when it does not keep their lines any more.
pub const SETTLEMENT_BATCHES_COUNTED: usize = 4_096;

/// Settled operations that a partition keeps of those batches; of earlier batches it keeps only the totals.
pub const SETTLED_REMEMBERED: u64 = 1_000_000;

/// Lines of one settlement file.
pub const SETTLEMENT_LINES_MAX: usize = 1_000_000;

/// Longest settlement file or recording that is read, in bytes: a million lines of some 500 bytes.
pub const SETTLEMENT_FILE_BYTES_MAX: u64 = 512 << 20;

/// Parts of one settlement batch.
pub const SETTLEMENT_PARTS_MAX: usize = SETTLEMENT_LINES_MAX.div_ceil(SETTLEMENT_LINES_PER_PART);

/// Chargers of one partition. It bounds a site controller whose pattern matches any number of names.
pub const CHARGERS_PER_PARTITION: usize = 1 << 20;

/// Snapshots that a shard has in progress at most: one is written, or waits for its records, while the next one is
/// begun.
pub const SNAPSHOTS_UNDER_WAY: usize = 2;

/// Requests for a cycle of snapshots that may wait for the current one.
pub const SNAPSHOT_REQUESTS_WAITING: usize = 16;

/// Requests that the console processes at once.
pub const CONSOLE_QUESTIONS: usize = 64;

/// Links with which browsers sign in at the console, and have not yet.
pub const SIGN_IN_LINKS_MAX: usize = 64;

/// Browsers that are signed in at the console.
pub const SIGNED_IN_MAX: usize = 256;

/// Tokens of the console's API.
pub const TOKENS_MAX: usize = 1_000;

/// Bytes and number of the newest facts that are in memory for observers; older ones are read from the log.
pub const FACT_TAIL_BYTES: usize = 16 << 20;
/// Their number.
pub const FACT_TAIL_RECORDS: usize = 100_000;

/// Facts from which the events of one page of the feed are made.
pub const EVENTS_MAX: usize = 1_000;

/// Sessions that are read for one page of events that the log has no more.
pub const FEED_SESSIONS_READ: usize = 200;

/// How long a charger may be without a connection and still count as online.
pub const CHARGER_ABSENT_MAX: TimeSpan = TimeSpan::from_secs(60);

/// The same of a processor.
pub const PROCESSOR_ABSENT_MAX: TimeSpan = TimeSpan::from_secs(10);

/// How long peers have to come back after a restart of the gate, before those that did not are missed.
pub const ABSENT_AFTER_RESTART: TimeSpan = TimeSpan::from_secs(300);

/// Absent peers of a partition that are noted in one tick.
pub const ABSENCES_NOTED_AT_ONCE: usize = 64;

/// Certificates of a partition of which it is remembered that they expire soon.
pub const CERTIFICATES_EXPIRING: usize = 4_096;

/// Counts of settlement that are kept, by processor and age.
pub const COUNTS_KEPT: usize = 16;

/// Events that `wattstile top` remembers.
pub const TOP_EVENTS: usize = 50;

/// Certificates that the console's page of the system lists.
pub const CERTIFICATES_SHOWN: usize = 200;

/// Clients that follow the feed at once.
pub const EVENT_STREAMS_MAX: usize = 16;

/// Webhooks of a gate: each has a thread.
pub const WEBHOOKS_MAX: usize = 32;

/// Events that are shown as parked, of one webhook; the oldest go first.
pub const PARKED_MAX: usize = 100;

/// How long an endpoint may take for a message.
pub const WEBHOOK_TIMEOUT: TimeSpan = TimeSpan::from_secs(15);

/// Longest head, and longest body, of an endpoint's answer that is read, in bytes.
pub const WEBHOOK_ANSWER_BYTES: usize = 16 << 10;

/// Longest pause between two attempts.
pub const WEBHOOK_PAUSE_MAX: TimeSpan = TimeSpan::from_secs(3_600);

/// How long an event is tried to be delivered.
pub const WEBHOOK_TRIED_FOR: TimeSpan = TimeSpan::from_secs(3 * 86_400);

/// Idempotency keys that are remembered; the oldest is forgotten first.
pub const IDEMPOTENCY_KEYS_MAX: usize = 65_536;

/// Bytes of the audit trail's end that are read at a start: keys of older orders are forgotten.
pub const AUDIT_SCAN_BYTES: u64 = 64 << 20;

/// Longest body that the audit trail keeps whole, in bytes; of a longer one it keeps the hash.
pub const AUDIT_BODY_BYTES: usize = 4 << 10;

/// Longest answer that is kept for repetitions of an order, in bytes.
pub const AUDIT_ANSWER_BYTES: usize = 16 << 10;

/// Answers of a shard to observers that wait until what they tell is durable.
pub const DURABLE_ANSWERS: usize = 64;

/// Sessions that one question of the reporting database names, or cells that it looks at.
pub const REPORTING_SESSIONS: usize = 128;

/// Bytes of entries of the books that one shard gives the reporting database at once, in whole pages.
pub const REPORTING_ENTRY_BYTES: usize = 256 << 10;

/// Pages of the books that the reporting database reads from the archive in one step.
pub const REPORTING_PAGES: usize = 16;

/// Items of one page of the console's lists, where the question does not say how many.
pub const LIST_ITEMS: usize = 100;

/// Most items of one page.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// Archived sessions that are read for one page, to find those that fit; a page ends there with fewer items.
pub const LIST_SESSIONS_READ: usize = 20_000;

/// Pages of a list that are looked through for one filtered page; it ends there with fewer items.
pub const LIST_ROUNDS_MAX: usize = 20;

/// Partitions that a shard looks through for a page before it does other work.
pub const LIST_PARTITIONS_AT_ONCE: usize = 8;

const _: () = assert!(0 < LIST_ITEMS && LIST_ITEMS <= LIST_ITEMS_MAX && LIST_ITEMS_MAX < LIST_SESSIONS_READ);
