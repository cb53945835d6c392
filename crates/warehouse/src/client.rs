//! The client the services use, the same for a ClickHouse server and for the embedded engine.

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use clickhouse::{Client, Compression};
use url::{Host, Url};

use crate::engine::DEFAULT_DATABASE;
use crate::error::WarehouseError;
use crate::sql;

/// Where the warehouse is, and how patient its client is.
#[derive(Clone)]
pub struct WarehouseConfig {
    /// `http://user:password@host:8123/database`. User and password are percent-encoded; without a
    /// path the database is `marginstream`.
    pub url: String,
    /// Time an INSERT may take after its last byte was sent. Default 60 s.
    pub insert_timeout: Duration,
}

impl WarehouseConfig {
    /// Defaults for the warehouse at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            insert_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for WarehouseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("WarehouseConfig")
            .field("insert_timeout", &self.insert_timeout)
            .finish_non_exhaustive()
    }
}

/// A ClickHouse database, over HTTP.
#[derive(Clone)]
pub struct Warehouse {
    client: Client,
    database: String,
    insert_timeout: Duration,
}

/// What one INSERT sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertSummary {
    /// Rows sent. The server keeps none of them if it has seen the token before.
    pub rows: usize,
    /// Bytes of the Arrow stream.
    pub bytes: usize,
}

impl Warehouse {
    /// Prepares a client; opens no connection.
    ///
    /// Bodies are compressed with lz4 unless the host is this machine.
    ///
    /// # Errors
    /// [`WarehouseError::Url`] if `config.url` is not an `http` URL with a host.
    pub fn new(config: WarehouseConfig) -> Result<Self, WarehouseError> {
        let url = Url::parse(&config.url).map_err(|error| WarehouseError::Url(error.to_string()))?;
        let host = url
            .host()
            .ok_or_else(|| WarehouseError::Url("it has no host".to_owned()))?;
        if url.scheme() != "http" {
            return Err(WarehouseError::Url(format!(
                "scheme {} is not http",
                url.scheme()
            )));
        }
        let port = url.port().unwrap_or(8123);
        let compression = if is_loopback(&host) {
            Compression::None
        } else {
            Compression::Lz4
        };
        let database = match decode(url.path().trim_matches('/')).as_str() {
            "" => DEFAULT_DATABASE.to_owned(),
            database => database.to_owned(),
        };
        let mut client = Client::default()
            .with_url(format!("http://{host}:{port}"))
            .with_database(&database)
            .with_compression(compression);
        if !url.username().is_empty() {
            client = client.with_user(decode(url.username()));
        }
        if let Some(password) = url.password() {
            client = client.with_password(decode(password));
        }
        Ok(Self {
            client,
            database,
            insert_timeout: config.insert_timeout,
        })
    }

    /// The client, with database, user and password set.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The database that unqualified names are looked up in.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Inserts `batches` into `table` as one block, under a deduplication token.
    ///
    /// The batches have one schema, whose field names are columns of the table; other columns take
    /// their defaults. A block whose `token` is in the table's window (`non_replicated_deduplication_window`,
    /// or `replicated_...`) is dropped by the server and the call succeeds. No batch, or no row,
    /// sends nothing.
    ///
    /// # Errors
    /// [`WarehouseError::Encode`] for batches of different schemas; [`WarehouseError::Server`] and
    /// [`WarehouseError::Client`] as the server and the connection have it. After an error that
    /// [`WarehouseError::is_retryable`] the same call is safe to repeat.
    pub async fn insert_arrow(
        &self,
        table: &str,
        batches: &[RecordBatch],
        token: &str,
    ) -> Result<InsertSummary, WarehouseError> {
        let encode = |source| WarehouseError::Encode {
            table: table.to_owned(),
            source,
        };
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let Some(first) = batches.first().filter(|_| rows > 0) else {
            return Ok(InsertSummary { rows: 0, bytes: 0 });
        };
        let body = match batches {
            [only] => encode_stream(only).map_err(encode)?,
            // One record batch is one block; several would be deduplicated one by one.
            many => {
                let joined = concat_batches(&first.schema(), many).map_err(encode)?;
                encode_stream(&joined).map_err(encode)?
            }
        };
        let bytes = body.len();
        let columns: Vec<_> = first
            .schema()
            .fields()
            .iter()
            .map(|field| sql::identifier(field.name()))
            .collect();
        let statement = format!(
            "INSERT INTO {} ({}) FORMAT ArrowStream",
            sql::identifier(table),
            columns.join(", ")
        );
        self.send(statement, body, rows, token).await?;
        Ok(InsertSummary { rows, bytes })
    }

    /// Sends one block. The settings are those of the design's section on exactly-once inserts.
    async fn send(
        &self,
        statement: String,
        body: Bytes,
        rows: usize,
        token: &str,
    ) -> Result<(), WarehouseError> {
        let failed = |source| WarehouseError::from_client("insert", source);
        let rows = rows.to_string();
        let mut insert = self
            .client
            .insert_formatted_with(statement)
            .with_setting("async_insert", "0")
            .with_setting("optimize_on_insert", "0")
            .with_setting("max_insert_threads", "1")
            .with_setting("input_format_parallel_parsing", "0")
            .with_setting("max_insert_block_size", &rows)
            .with_setting("min_insert_block_size_rows", &rows)
            .with_setting("min_insert_block_size_bytes", "0")
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token)
            .with_timeouts(Some(self.insert_timeout), Some(self.insert_timeout));
        insert.send(body).await.map_err(failed)?;
        insert.end().await.map_err(failed)
    }

    /// Asks the server for `SELECT 1`.
    ///
    /// # Errors
    /// [`WarehouseError`] if it does not answer, or refuses the user.
    pub async fn ping(&self) -> Result<(), WarehouseError> {
        self.client
            .clone()
            .with_database("system")
            .query("SELECT 1")
            .execute()
            .await
            .map_err(|source| WarehouseError::from_client("ping", source))
    }
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warehouse")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Encodes `batch` as an Arrow IPC stream.
fn encode_stream(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    let capacity = batch.get_array_memory_size() + 4096;
    let mut writer = StreamWriter::try_new(Vec::with_capacity(capacity), &batch.schema())?;
    writer.write(batch)?;
    Ok(Bytes::from(writer.into_inner()?))
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Decodes percent escapes, and nothing else.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| tail.get(..2)).flatten();
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_user_password_and_database_from_the_url() {
        let config = WarehouseConfig::new("http://al%40ice:p%2Fw@127.0.0.1:9/my%20db");
        let warehouse = Warehouse::new(config).unwrap();
        assert_eq!(warehouse.database(), "my db");
        assert_eq!(decode("al%40ice:p%2Fw%"), "al@ice:p/w%");
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_it() {
        for url in [
            "https://u:secret@host/",
            "embedded:./secret",
            "http://:secret@",
            "secret",
        ] {
            let error = Warehouse::new(WarehouseConfig::new(url)).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn debug_prints_no_password() {
        let config = WarehouseConfig::new("http://u:secret@localhost/");
        let printed = format!("{config:?} {:?}", Warehouse::new(config.clone()).unwrap());
        assert!(!printed.contains("secret"), "{printed}");
    }
}
