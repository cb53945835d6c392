//! Numbered migrations, embedded in the binary.

use schemas::time::TimestampMs;

use crate::error::{ControlError, failed};
use crate::pools::{self, Pools};
use crate::row;

/// One step. A step that was released is never edited: a new one follows.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "control_store",
        sql: include_str!("../migrations/0001_control_store.sql"),
    },
    Migration {
        version: 2,
        name: "accounts",
        sql: include_str!("../migrations/0002_accounts.sql"),
    },
];

const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Brings the database to the newest version, all steps or none. Does nothing where it is there
/// already. Two processes take turns: the transaction holds the write lock from its start.
///
/// # Errors
/// [`ControlError::NewerSchema`] when the database is ahead of this program.
pub(crate) async fn run(pools: &Pools) -> Result<(), ControlError> {
    apply(pools, MIGRATIONS).await
}

async fn apply(pools: &Pools, migrations: &[Migration]) -> Result<(), ControlError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let mut tx = pools.begin_migration().await?;
    sqlx::query(CREATE_HISTORY)
        .execute(&mut *tx)
        .await
        .map_err(failed("create the migration history"))?;
    let newest = sqlx::query("SELECT MAX(version) AS version FROM schema_migrations")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed("read the migration history"))?;
    let found = row::optional_integer(&newest, "version")?.unwrap_or(0);
    if found > known {
        return Err(ControlError::NewerSchema { found, known });
    }
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        sqlx::raw_sql(migration.sql)
            .execute(&mut *tx)
            .await
            .map_err(failed("apply a migration"))?;
        sqlx::query("INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.name)
            .bind(TimestampMs::now().0)
            .execute(&mut *tx)
            .await
            .map_err(failed("record a migration"))?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "control store migrated"
        );
    }
    pools::commit(tx).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_step_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let pools = crate::sqlite::open(&directory.path().join("control.db"))
            .await
            .unwrap();
        let step = |version, sql| Migration {
            version,
            name: "test",
            sql,
        };
        let steps = [
            step(1, "CREATE TABLE one (id TEXT)"),
            step(2, "CREATE TABLE two (id TEXT); SELECT nonsense"),
        ];
        assert!(apply(&pools, &steps).await.is_err());
        let tables = sqlx::query("SELECT name FROM sqlite_master")
            .fetch_all(&pools.reads)
            .await
            .unwrap();
        assert!(tables.is_empty());

        apply(&pools, &steps[..1]).await.unwrap();
        let newer = apply(&pools, &[]).await;
        assert!(matches!(
            newer,
            Err(ControlError::NewerSchema { found: 1, known: 0 })
        ));
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(
                migration.version,
                i64::try_from(index).unwrap() + 1,
                "{}",
                migration.name
            );
        }
    }
}
