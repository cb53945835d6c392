//! The warehouse and the processor alone, for an operator's command where no server runs.

use std::net::SocketAddr;

use warehouse::Warehouse;

use crate::clickhouse::{self, ClickHouse};
use crate::config::{BatchConfig, Config};
use crate::error::CommandError;
use crate::storage::Storage;
use crate::tasks::{Part, Tasks};

/// A warehouse in which all that the log holds is counted; nothing changes it.
#[derive(Debug)]
pub(crate) struct Engine {
    tasks: Tasks,
    config: Config,
    pub(crate) warehouse: Warehouse,
}

impl Engine {
    /// Starts the engine on a free port of this machine, counts what the log holds, and stops the
    /// processor. A batch that a crash cut short is completed by that; before it is, a roll-up that
    /// lacks it must not be repaired, or it would be counted twice.
    pub(crate) async fn start_and_drain(storage: &Storage, config: &Config) -> Result<Self, CommandError> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = clickhouse::listen(any_port, "clickhouse-listen").await?;
        let clickhouse = ClickHouse::open(&storage.dir, &config.clickhouse, listener).await?;
        let warehouse = clickhouse.warehouse.clone();
        let mut tasks = Tasks::default();
        tasks.spawn(Part::ClickHouse, |shutdown| clickhouse.serve(shutdown));
        let mut engine = Self {
            tasks,
            config: config.clone(),
            warehouse,
        };
        match engine.drain(storage).await {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.stop().await.ok();
                Err(error)
            }
        }
    }

    async fn drain(&mut self, storage: &Storage) -> Result<(), CommandError> {
        clickhouse::migrate(&self.warehouse).await?;
        // What is kept is for the server's settings to decide.
        let batch = BatchConfig {
            dead_letters_max_bytes: 0,
            ..self.config.batch.clone()
        };
        let processor = storage.processor(&batch, &self.warehouse).await?;
        super::start_processor(storage, &mut self.tasks, processor).await?;
        self.tasks
            .stop(Part::Processor, self.config.http.drain_deadline())
            .await
    }

    /// Stops the engine and what is around it.
    pub(crate) async fn stop(mut self) -> Result<(), CommandError> {
        self.tasks.stop_all(self.config.http.deadlines()).await
    }
}
