//! A reporting database on a PostgreSQL server.

use super::batch::{Batch, Value, as_text};
use super::schema::{Column, Dialect, Table, create, drop_all};
use super::store::{Store, StoreError, TextRows};
use crate::config::reporting_url::PostgresUrl;
use crate::transport::client_tls::{ClientStream, ClientTls};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one transaction, or one question, may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to a server. What it does runs on the thread that asks.
pub struct PostgresStore {
    runtime: Runtime,
    client: Client,
    upserts: HashMap<&'static str, Statement>,
}

impl PostgresStore {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or has no certificate that is trusted.
    pub fn connect(url: &PostgresUrl) -> Result<PostgresStore, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(within(CONNECT, connect(url)))?;
        Ok(PostgresStore { runtime, client, upserts: HashMap::new() })
    }
}

async fn connect(url: &PostgresUrl) -> Result<Client, StoreError> {
    let mut config = url.config.clone();
    config.application_name("wattstile").keepalives(true);
    let client = match &url.tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            // Its failure is that of the client's next question.
            tokio::spawn(async move { drop(connection.await) });
            client
        }
        Some(roots) => {
            let tls = ClientTls::new(roots.as_deref())?;
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let (host, port) = host_of(&config)?;
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            let (client, connection) = config.connect_raw(stream, Handshake { tls, host }).await?;
            tokio::spawn(async move { drop(connection.await) });
            client
        }
    };
    Ok(client)
}

/// The host and port of an address with TLS.
fn host_of(config: &Config) -> Result<(String, u16), StoreError> {
    let host = config.get_hosts().iter().find_map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => Some(name.clone()),
        tokio_postgres::config::Host::Unix(_) => None,
    });
    let host = host.ok_or_else(|| io::Error::other("TLS needs the name of a host"))?;
    Ok((host, config.get_ports().first().copied().unwrap_or(5432)))
}

struct Handshake {
    tls: ClientTls,
    host: String,
}

impl TlsConnect<TcpStream> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move { self.tls.connect(&self.host, stream).await.map(Encrypted) })
    }
}

/// A connection with TLS.
struct Encrypted(ClientStream);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn within<T>(most: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(most, work).await.unwrap_or(Err(StoreError::Silent(most.as_secs())))
}

impl Store for PostgresStore {
    fn reset(&mut self) -> Result<(), StoreError> {
        let PostgresStore { runtime, client, upserts } = self;
        upserts.clear();
        runtime.block_on(within(ANSWER, async {
            let transaction = client.transaction().await?;
            for statement in drop_all().iter().chain(&create(Dialect::Postgres)) {
                transaction.batch_execute(statement).await?;
            }
            transaction.commit().await?;
            Ok(())
        }))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let PostgresStore { runtime, client, upserts } = self;
        runtime.block_on(within(ANSWER, async {
            for (table, _) in batch.tables() {
                if !upserts.contains_key(table.name) {
                    upserts.insert(table.name, client.prepare(&upsert(table)).await?);
                }
            }
            let transaction = client.transaction().await?;
            for (table, keys) in batch.gone() {
                let length = keys.first().map_or(0, Vec::len);
                let columns = columns_of(&table.columns[..length], keys.iter());
                let casts = table.columns.iter().take(length).zip(1..);
                let casts: Vec<String> =
                    casts.map(|(column, place)| format!("c{place}::{}", column.kind.sql(Dialect::Postgres))).collect();
                let names: Vec<&str> = table.columns.iter().take(length).map(|column| column.name).collect();
                let sql = format!(
                    "DELETE FROM {} WHERE ({}) IN (SELECT {} FROM {})",
                    table.name,
                    names.join(", "),
                    casts.join(", "),
                    unnested(length)
                );
                transaction.execute(&sql, &parameters(&columns)).await?;
            }
            for (table, rows) in batch.tables() {
                let columns = columns_of(table.columns, rows);
                let Some(statement) = upserts.get(table.name) else { continue };
                transaction.execute(statement, &parameters(&columns)).await?;
            }
            transaction.commit().await?;
            Ok(())
        }))
    }

    fn rows(&mut self, sql: &str) -> Result<TextRows, StoreError> {
        let PostgresStore { runtime, client, .. } = self;
        let messages =
            runtime.block_on(within(ANSWER, async { Ok::<_, StoreError>(client.simple_query(sql).await?) }))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    fn has_table(&mut self, name: &str) -> Result<bool, StoreError> {
        let PostgresStore { runtime, client, .. } = self;
        runtime.block_on(within(ANSWER, async {
            let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await?;
            Ok(row.try_get(0)?)
        }))
    }
}

/// The values column by column: one statement takes any number of rows.
fn columns_of<'a>(columns: &[Column], rows: impl Iterator<Item = &'a Vec<Value>> + Clone) -> Vec<Vec<Option<String>>> {
    let of = |place: usize, kind| rows.clone().map(|row| as_text(&row[place], kind)).collect();
    columns.iter().enumerate().map(|(place, column)| of(place, column.kind)).collect()
}

fn parameters(columns: &[Vec<Option<String>>]) -> Vec<&(dyn ToSql + Sync)> {
    columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
}

/// So many parameters, each an array of texts, as rows with the columns c1, c2 and so on.
fn unnested(count: usize) -> String {
    let arrays: Vec<String> = (1..=count).map(|place| format!("${place}::text[]")).collect();
    let names: Vec<String> = (1..=count).map(|place| format!("c{place}")).collect();
    format!("unnest({}) AS r({})", arrays.join(", "), names.join(", "))
}

fn upsert(table: &Table) -> String {
    let casts = table.columns.iter().zip(1..);
    let casts: Vec<String> =
        casts.map(|(column, place)| format!("c{place}::{}", column.kind.sql(Dialect::Postgres))).collect();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} {}",
        table.name,
        table.column_names(),
        casts.join(", "),
        unnested(table.columns.len()),
        table.on_conflict()
    )
}
