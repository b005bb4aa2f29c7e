//! Every section and setting, with its meaning and its built-in value.

use super::money::Amounts;
use super::reporting_url::ReportingUrl;
use super::section::sections;
use super::setting::{Limit, LogFormat, MinTls, Mode, Pattern, SeriesScope, ZoneName};
use crate::payment::CredentialKind;
use crate::transport::websocket::WebSocketUrl;
use crate::units::{Currency, ProcessorId, SiteId, TariffId, TimeSpan};
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

const fn seconds(count: i64) -> TimeSpan {
    TimeSpan::from_secs(count)
}

const fn minutes(count: i64) -> TimeSpan {
    seconds(count * 60)
}

const fn hours(count: i64) -> TimeSpan {
    minutes(count * 60)
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// An id for a required setting, used until the problem that it is missing is reported.
fn placeholder<T: FromStr<Err: Debug>>() -> T {
    "unnamed".parse().expect("it is an id of each kind")
}

sections! {
    /// The gate itself.
    Gate "gate" {
        /// Its name in the log: of several gates, which one wrote a line.
        name: String = "wattstile".into();
        /// "development" makes certificates for itself; "production" refuses those.
        mode: Mode = Mode::Development;
        /// Directory of all durable data.
        data_dir: PathBuf = ".wattstile/gate".into();
        /// Slices of the id space; fixed when the data directory is made.
        partitions: u16 = 64;
        /// Threads that run partitions; 0 means one per core.
        shards: u16 = 0;
    }
    /// The listener for chargers and site controllers, and how far a charger is trusted.
    Chargers "chargers" {
        /// Where chargers connect.
        listen: SocketAddr = loopback(7443);
        /// Most connections at once.
        connections_max: u32 = 16_000;
        /// Most connections at once of one charger or site controller, by the name in its certificate; with one more, its
        /// oldest is closed.
        connections_each_max: u32 = 4;
        /// Most chargers that one site controller introduces; one more is refused. A certificate that fits any name makes no
        /// more than these.
        per_site_max: u32 = 10_000;
        /// How far a charger's clock may be ahead; "off" does not compare.
        clock_ahead_max: Limit = Limit(Some(minutes(1)));
        /// How old a reading may be when it arrives; "off" takes any age.
        backlog_max: Limit = Limit(Some(hours(7 * 24)));
        /// Time without messages after which a session is ended on its last known reading.
        silence: TimeSpan = minutes(15);
        /// How long the rest of a hold is kept after such an end, where its processor can take money from it again.
        late_readings: TimeSpan = hours(1);
        /// Time without messages after which an admitted session without readings is ended.
        no_start: TimeSpan = minutes(2);
        /// Shortest time that a charger gets to reconnect after a start of the gate, however long it had sent nothing
        /// before.
        reconnect: TimeSpan = minutes(5);
    }
    /// Chargers that speak OCPP over WebSocket, at the address /ocpp/ with their id. Their connections count in
    /// `chargers.connections_max`.
    Ocpp "ocpp" {
        /// Where they connect by wss://, with a certificate, or with a password of `passwords_file`; without an address,
        /// nowhere.
        listen: Option<SocketAddr> = None;
        /// Where they connect by ws://, with a password of `passwords_file`. Nothing is encrypted: it is an address of this
        /// machine's loopback, behind a proxy that ends TLS.
        insecure_listen: Option<SocketAddr> = None;
        /// Takes another address for `insecure_listen`, and lets chargers in that have no password: for tests.
        allow_insecure: bool = false;
        /// File of the hashes of chargers' passwords, as `wattstile ocpp password` writes it; read again when it changes.
        passwords_file: Option<PathBuf> = None;
        /// The most power of a connector, in kilowatts: OCPP does not tell it. What is above it is suspect.
        power_max_kw: u16 = 350;
        /// The management system behind the gate, such as ws://csms.example:9000/ocpp or wss://csms.example/ocpp: it gets what
        /// is not about money, and calls the chargers. Each charger has its address below it, and shows the password there
        /// that it has shown here.
        forward: Option<WebSocketUrl> = None;
        /// Certificates of the authorities by which a management system is recognised that is reached by wss://.
        forward_ca_file: Option<PathBuf> = None;
        /// Bills energy that was given after a refused start when its session ends, to the account of its credential, instead
        /// of keeping it for review.
        bill_refused_energy: bool = false;
    }
    /// The listener to which processors connect.
    Processors "processors" {
        /// Where processors connect.
        listen: SocketAddr = loopback(7444);
        /// Most connections at once.
        connections_max: u32 = 256;
        /// Most connections at once of one processor, by the name in its certificate; one more is refused.
        connections_each_max: u32 = 16;
    }
    /// A processor that may connect, and the requests that it gets. Without any, every processor with a certificate
    /// may connect, and gets requests for all that it accepts. A hold goes to the processors that match: those with
    /// the lowest `priority`, by their `weight`; to others when these are not connected, draining, busy, or do not
    /// answer.
    Processor "processor" {
        /// Its id, as its certificate names it.
        id: ProcessorId = placeholder(), required;
        /// File with the key of its messages' MAC, in hexadecimal, readable by the owner only.
        mac_key_file: Option<PathBuf> = None;
        /// Kinds of credentials that it gets; empty means cards and wallets. Contracts and RFID cards that are linked
        /// to no account go to it where "ev-account" or "rfid" is listed here.
        credentials: Vec<CredentialKind> = Vec::new();
        /// Currencies of its holds; empty means all that it accepts.
        currencies: Vec<Currency> = Vec::new();
        /// Sites whose chargers use it; empty means all.
        sites: Vec<SiteId> = Vec::new();
        /// Least hold that it gets, such as "5 EUR"; holds in a currency that is not named have no bound.
        least: Option<Amounts> = None;
        /// Greatest hold that it gets; several currencies as a list.
        greatest: Option<Amounts> = None;
        /// Processors with the lowest number get requests first.
        priority: u8 = 100;
        /// Share of the sessions among those with equal priority; 0 means only when the others are out.
        weight: u16 = 1;
    }
    /// Certificates of both listeners. Files that are not named are those of the folder, as `wattstile cert init`
    /// makes them.
    Tls "tls" {
        /// The trust domain in the names of all peers.
        trust_domain: String = "wattstile.local".into();
        /// The folder of the PKI; without it, `pki` in the data directory.
        folder: Option<PathBuf> = None;
        /// The gate's own certificate and its chain, without the root.
        certificate_file: Option<PathBuf> = None;
        /// The gate's own key, readable by the owner only.
        key_file: Option<PathBuf> = None;
        /// Authorities of chargers and site controllers.
        chargers_ca_file: Option<PathBuf> = None;
        /// Authorities of processors.
        processors_ca_file: Option<PathBuf> = None;
        /// Revocation lists of these authorities.
        crl_files: Vec<PathBuf> = Vec::new();
        /// The oldest TLS that is spoken: "1.3", or "1.2" for chargers that have no newer one.
        min_version: MinTls = MinTls::V13;
    }
    /// The console, its API, and /metrics, /livez, /readyz.
    Console "console" {
        /// Where it listens: an address of this machine's loopback.
        listen: SocketAddr = loopback(8490);
        /// Names of the console beside localhost and the loopback's addresses, for example behind a proxy.
        hosts: Vec<String> = Vec::new();
        /// Where /livez, /readyz and /metrics, and nothing else, are answered without a token, say "0.0.0.0:9464"; without it,
        /// only the console answers them.
        probes_listen: Option<SocketAddr> = None;
        /// File with the token that opens it; without it, one is made at each start and kept in `data/console.json` of the
        /// data directory, which only the gate's user can read.
        token_file: Option<PathBuf> = None;
    }
    /// Events that are pushed to other programs.
    Webhooks "webhooks" {
        /// Hosts that webhooks may have although they are of this machine or a private network, also without TLS.
        allow: Vec<String> = Vec::new();
        /// File with the authorities by which endpoints are recognised; without it, those of the system.
        roots_file: Option<PathBuf> = None;
    }
    /// A database that finance can query with SQL: sessions, money, documents and the books, kept up to date beside the gate.
    Reporting "reporting" {
        /// Which: "sqlite" for a file in the data directory, "sqlite:PATH", or "postgres://USER@HOST/DATABASE"; without it, there
        /// is none.
        url: Option<ReportingUrl> = None;
        /// File with the password of PostgreSQL's user, readable by the gate's user only.
        password_file: Option<PathBuf> = None;
    }
    /// Prices.
    Tariffs "tariffs" {
        /// Folder with OCPI tariffs, one JSON file each; without it, `tariffs` in the data directory.
        folder: Option<PathBuf> = None;
        /// The tariff of chargers that no `assignment` fits; without it, they are refused.
        default: Option<TariffId> = None;
        /// The time zone of chargers whose site has none.
        time_zone: ZoneName = ZoneName::utc();
    }
    /// Which tariff applies to which chargers. Of several that fit, the most specific counts.
    Assignment "assignment" {
        /// Chargers, with * for any characters.
        chargers: Pattern = Pattern::placeholder(), required;
        /// The id of the tariff.
        tariff: TariffId = placeholder(), required;
    }
    /// A site, and the chargers that its controller serves.
    Site "site" {
        /// Its id, as its controller's certificate names it.
        id: SiteId = placeholder(), required;
        /// Its chargers, with * for any characters.
        chargers: Vec<Pattern> = Vec::new();
        /// Its time zone.
        time_zone: Option<ZoneName> = None;
        /// Its name for drivers; on receipts.
        name: String = String::new();
        /// Street and number; on receipts and in records (CDRs), like the next three.
        address: String = String::new();
        /// Postal code.
        postal_code: String = String::new();
        /// City.
        city: String = String::new();
        /// Country: three letters, as in ISO 3166-1 (alpha-3).
        country: String = String::new();
    }
    /// Holds, and the timers of the money. Every amount has its currency; for several currencies, write a list:
    /// ["45 EUR", "18000 HUF"]. In a currency without a first hold it is what 60 kWh cost by the dearest prices of the
    /// tariff, the other amounts follow from it, and no energy is given before an answer.
    Payment "payment" {
        /// Currency of amounts in the spellings without one (first_hold_major, total_max_minor and so on).
        currency: Currency = Currency::EUR;
        /// First hold where the tariff names none.
        first_hold: Amounts = Amounts::euros(45);
        /// How long an increment is to last, at the rate at which the session costs money.
        increment_horizon: TimeSpan = minutes(30);
        /// Most increments of one hold.
        increments_max: u8 = 10;
        /// Most that is reserved for one session.
        total_max: Amounts = Amounts::euros(1_000);
        /// A partial approval of less is released at once.
        partial_min: Amounts = Amounts::euros(2);
        /// Whether an account pays for one session at a time: the start of another one is refused.
        one_session: bool = false;
        /// Whether energy is given on our own risk when no processor can be reached: the funds are requested when it
        /// is back.
        stand_in: bool = false;
        /// Most energy, in money, that is given before an answer.
        floor_limit: Amounts = Amounts::euros(20);
        /// Most that is at stake in all such sessions of a currency together.
        stand_in_exposure: Amounts = Amounts::euros(1_000);
        /// Beginnings of tokens of products that treat a hold as a purchase (buy now, pay later): they are refused.
        no_holds: Vec<String> = Vec::new();
        /// How long before a hold lapses the energy is stopped, so that the amount owed can be taken in time.
        closing: TimeSpan = hours(1);
        /// Whether a hold is lowered when the car takes far less than it did.
        release_early: bool = true;
        /// Whether a second hold may be requested while an earlier one is being reversed.
        double_hold: bool = false;
        /// Longest time from a reading that is still covered until no energy flows, should the next one not be.
        stop_latency: TimeSpan = seconds(90);
        /// How long to wait for the answer to an authorization.
        answer_authorize: TimeSpan = seconds(8);
        /// How long to wait for the answer to an increment.
        answer_increment: TimeSpan = seconds(15);
        /// How long to wait for the answer to a capture.
        answer_capture: TimeSpan = seconds(20);
        /// How long to wait for the answer to a void.
        answer_void: TimeSpan = seconds(10);
        /// How long to wait for the answer to a refund.
        answer_refund: TimeSpan = seconds(30);
    }
    /// What drivers present.
    Credentials "credentials" {
        /// File with the keys under which tokens are kept, readable by the owner only; without it, `credential.keys` in the
        /// data directory, made at the first start.
        keys_file: Option<PathBuf> = None;
        /// Kinds of credentials without a processor on purpose: their drivers are refused. The checks before a start
        /// report any other kind without a processor.
        not_taken: Vec<CredentialKind> = Vec::new();
    }
    /// The seller: named on receipts and invoices.
    Operator "operator" {
        /// Legal name. Production requires one of yours.
        name: String = "Example Charging Ltd (demonstration)".into();
        /// Postal address in one line.
        address: String = "1 Example Street, 00000 Exampletown".into();
        /// VAT identification number.
        vat_id: String = "XX000000000".into();
        /// What the names of invoice series begin with: 8 letters and digits at most; year and currency follow.
        invoice_prefix: String = "R".into();
        /// The same of credit notes.
        credit_note_prefix: String = "C".into();
        /// "currency" numbers all documents of a currency and year in one series without a gap (R-2026-EUR); "partition" gives
        /// each partition series of its own (R-2026-07-EUR).
        invoice_series: SeriesScope = SeriesScope::Currency;
        /// The time zone of the year in which a document is issued.
        time_zone: ZoneName = ZoneName::utc();
    }
    /// The journal of durable facts.
    Journal "journal" {
        /// What the log may take on the disk, in MiB; snapshots are taken so often that it stays below.
        log_mib_max: u32 = 512;
        /// Snapshots are taken at least this often if anything happened.
        snapshot_every: TimeSpan = minutes(15);
    }
    /// Receipts.
    Receipts "receipts" {
        /// What the addresses of receipts begin with; empty means that none is given.
        address: String = String::new();
    }
    /// The log.
    Log "log" {
        /// "auto" writes text to a terminal and JSON elsewhere; or "text", "json".
        format: LogFormat = LogFormat::Auto;
        /// The level: "error", "warn", "info", "debug", "trace", or a filter such as "info,wattstile::wire=debug".
        level: String = "info".into();
    }
}
