//! The embedded ClickHouse of one process: engine, HTTP interface, and the services' client of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use schemas::clickhouse::{DOCUMENTED, MIGRATIONS};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warehouse::{
    AnalystLimits, Credentials, DEFAULT_DATABASE, Engine, EngineConfig, Migration, ServerConfig, Users,
    Warehouse, WarehouseConfig,
};

use crate::config::ClickHouseConfig;
use crate::data_dir::DataDir;
use crate::error::CommandError;

const SERVICE_USER: &str = "service";
pub(crate) const ANALYST_USER: &str = "analyst";

/// The engine, open, and its HTTP interface, which [`Self::serve`] serves.
#[derive(Debug)]
pub(crate) struct ClickHouse {
    engine: Arc<Engine>,
    listener: TcpListener,
    server: ServerConfig,
    /// Answers once the interface is served.
    pub(crate) warehouse: Warehouse,
    pub(crate) address: SocketAddr,
    /// Where the analyst's generated password is; none where a setting gives it.
    analyst_password_file: Option<PathBuf>,
}

impl ClickHouse {
    /// Opens the engine on the data directory, whose lock the caller holds.
    pub(crate) async fn open(
        dir: &DataDir,
        config: &ClickHouseConfig,
        listener: TcpListener,
    ) -> Result<Self, CommandError> {
        let address = listener.local_addr().map_err(CommandError::Runtime)?;
        let (service_password, _) = dir.clickhouse_password(SERVICE_USER)?;
        let (analyst_password, analyst_password_file) = match &config.analyst_password {
            Some(password) => (password.clone(), None),
            None => dir
                .clickhouse_password(ANALYST_USER)
                .map(|(password, path)| (password, Some(path)))?,
        };
        let users = Users {
            service: Credentials::new(SERVICE_USER, service_password.expose()),
            analyst: Some(Credentials::new(ANALYST_USER, analyst_password.expose())),
        };
        let server = ServerConfig {
            analyst_limits: AnalystLimits {
                max_query_secs: config.analyst_query_secs,
                max_memory_bytes: config.analyst_memory_bytes,
                max_result_rows: config.analyst_result_rows,
                ..AnalystLimits::default()
            },
            allow_remote: config.clickhouse_allow_remote,
            ..ServerConfig::new(users)
        };
        let url = format!(
            "http://{SERVICE_USER}:{}@{}/{DEFAULT_DATABASE}",
            service_password.expose(),
            reachable(address)
        );
        let warehouse = Warehouse::new(WarehouseConfig::new(url))?;
        let engine = open_engine(engine_config(dir, config)).await?;
        Ok(Self {
            engine,
            listener,
            server,
            warehouse,
            address,
            analyst_password_file,
        })
    }

    /// Tells where the password of the user `analyst` is.
    pub(crate) fn analyst_password_place(&self) -> String {
        let file = self.analyst_password_file.as_deref();
        file.map_or_else(
            || "as configured".to_owned(),
            |file| format!("in {}", file.display()),
        )
    }

    /// Serves the HTTP interface until `shutdown`.
    pub(crate) async fn serve(self, shutdown: CancellationToken) -> Result<(), CommandError> {
        warehouse::serve(
            self.engine,
            self.listener,
            self.server,
            shutdown.cancelled_owned(),
        )
        .await?;
        Ok(())
    }
}

fn engine_config(dir: &DataDir, config: &ClickHouseConfig) -> EngineConfig {
    EngineConfig {
        library: config.libchdb.clone(),
        connections: config.clickhouse_connections.into(),
        max_memory_bytes: config.clickhouse_memory_bytes,
        analyst_tables: DOCUMENTED
            .iter()
            .map(|table| format!("{DEFAULT_DATABASE}.{table}"))
            .collect(),
        ..EngineConfig::new(dir.clickhouse())
    }
}

async fn open_engine(config: EngineConfig) -> Result<Arc<Engine>, CommandError> {
    let opened = tokio::task::spawn_blocking(|| Engine::open(config)).await;
    Ok(opened.map_err(|error| CommandError::Runtime(error.into()))??)
}

/// Brings the tables to the newest version.
pub(crate) async fn migrate(warehouse: &Warehouse) -> Result<(), CommandError> {
    let migrations = MIGRATIONS.map(|step| Migration {
        version: step.version,
        name: step.name,
        sql: step.sql,
    });
    warehouse.migrate(&migrations).await?;
    Ok(())
}

/// Takes `address`, so that a port in use is found before anything else is done.
pub(crate) async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, CommandError> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|source| CommandError::Bind {
        what: "ClickHouse's HTTP interface",
        flag,
        address,
        source,
    })
}

/// Returns an address by which this machine reaches a listener on `address`.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (address, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("192.0.2.1:3", "192.0.2.1:3"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), reached);
        }
    }
}
