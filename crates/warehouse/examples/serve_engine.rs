//! Serves the embedded engine: `serve_engine <data directory> [port]`.
//!
//! Users: `service` / `service-password`, `analyst` / `analyst-password`.

use std::env;
use std::error::Error;

use marginstream_warehouse::{Credentials, Engine, EngineConfig, ServerConfig, Users, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let data_dir = arguments.next().ok_or("data directory is missing")?;
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let engine = Engine::open(EngineConfig::new(data_dir))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let users = Users {
        service: Credentials::new("service", "service-password"),
        analyst: Some(Credentials::new("analyst", "analyst-password")),
    };
    serve(engine, listener, ServerConfig::new(users), std::future::pending()).await?;
    Ok(())
}
