//! Numbered migrations, applied once each, in order.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::client::Warehouse;
use crate::error::WarehouseError;
use crate::sql;

/// One step of the database's schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration<'m> {
    /// Its number; migrations are listed in ascending order.
    pub version: u32,
    /// What it does, in a few words.
    pub name: &'m str,
    /// Statements separated by `;`. Each must do no harm when run again (`IF NOT EXISTS`), because
    /// ClickHouse has no transaction around them.
    pub sql: &'m str,
}

impl Migration<'_> {
    /// SHA-256 of the text, in hexadecimal.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// A migration that [`Warehouse::migrate`] has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
}

#[derive(Debug, Row, Serialize, Deserialize)]
struct RecordedMigration {
    version: u32,
    checksum: String,
}

const CREATE_RECORDS: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY version";

impl Warehouse {
    /// Creates the database if it is missing and applies each of `migrations` that is not recorded
    /// in its `schema_migrations` table. Returns those applied now.
    ///
    /// # Errors
    /// [`WarehouseError::MigrationChanged`] and [`WarehouseError::DatabaseNewer`] before anything
    /// runs. A statement that fails leaves its migration unrecorded; the next call runs it again.
    pub async fn migrate(
        &self,
        migrations: &[Migration<'_>],
    ) -> Result<Vec<AppliedMigration>, WarehouseError> {
        if let Some([_, second]) = migrations.windows(2).find(|pair| is_out_of_order(pair)) {
            return Err(WarehouseError::MigrationOrder(second.version));
        }
        let create_database = format!(
            "CREATE DATABASE IF NOT EXISTS {}",
            sql::identifier(self.database())
        );
        self.execute_in("system", &create_database).await?;
        self.execute_in(self.database(), CREATE_RECORDS).await?;
        let recorded = self.recorded_migrations().await?;
        check_recorded(migrations, &recorded)?;
        let mut applied = Vec::new();
        for migration in migrations {
            if recorded.iter().any(|record| record.version == migration.version) {
                continue;
            }
            self.apply(migration).await?;
            info!(
                version = migration.version,
                name = migration.name,
                "applied migration"
            );
            applied.push(AppliedMigration {
                version: migration.version,
                name: migration.name.to_owned(),
            });
        }
        Ok(applied)
    }

    async fn apply(&self, migration: &Migration<'_>) -> Result<(), WarehouseError> {
        for statement in sql::split_statements(migration.sql) {
            self.execute_in(self.database(), statement).await?;
        }
        self.client()
            .query("INSERT INTO schema_migrations (version, name, checksum) SELECT ?, ?, ?")
            .bind(migration.version)
            .bind(migration.name)
            .bind(migration.checksum())
            .execute()
            .await
            .map_err(|source| WarehouseError::from_client("recording a migration", source))
    }

    async fn recorded_migrations(&self) -> Result<Vec<RecordedMigration>, WarehouseError> {
        self.client()
            .query("SELECT version, checksum FROM schema_migrations ORDER BY version")
            .fetch_all()
            .await
            .map_err(|source| WarehouseError::from_client("reading migrations", source))
    }

    /// Runs a statement as it stands; `?` in it is no placeholder.
    async fn execute_in(&self, database: &str, statement: &str) -> Result<(), WarehouseError> {
        self.client()
            .clone()
            .with_database(database)
            .query_raw(statement)
            .execute()
            .await
            .map_err(|source| WarehouseError::from_client("running a migration", source))
    }
}

fn is_out_of_order(pair: &[Migration<'_>]) -> bool {
    matches!(pair, [first, second] if first.version >= second.version)
}

/// Compares what the database has with what the program has.
fn check_recorded(
    migrations: &[Migration<'_>],
    recorded: &[RecordedMigration],
) -> Result<(), WarehouseError> {
    let program = migrations.last().map_or(0, |migration| migration.version);
    for record in recorded {
        let Some(migration) = migrations
            .iter()
            .find(|migration| migration.version == record.version)
        else {
            return Err(WarehouseError::DatabaseNewer {
                database: record.version,
                program,
            });
        };
        let expected = migration.checksum();
        if expected != record.checksum {
            return Err(WarehouseError::MigrationChanged {
                version: migration.version,
                name: migration.name.to_owned(),
                applied: record.checksum.clone(),
                expected,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration<'_> = Migration {
        version: 1,
        name: "first",
        sql: "SELECT 1",
    };

    fn record(version: u32, checksum: String) -> RecordedMigration {
        RecordedMigration { version, checksum }
    }

    #[test]
    fn refuses_a_changed_migration() {
        let error = check_recorded(&[FIRST], &[record(1, "other".to_owned())]).unwrap_err();
        assert!(
            matches!(error, WarehouseError::MigrationChanged { version: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn refuses_a_newer_database() {
        let error =
            check_recorded(&[FIRST], &[record(1, FIRST.checksum()), record(2, String::new())]).unwrap_err();
        assert!(
            matches!(
                error,
                WarehouseError::DatabaseNewer {
                    database: 2,
                    program: 1
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn checksum_is_that_of_the_text() {
        assert_eq!(FIRST.checksum().len(), 64);
        assert_ne!(
            FIRST.checksum(),
            Migration {
                sql: "SELECT 2",
                ..FIRST
            }
            .checksum()
        );
    }
}
