//! The two files the engine reads at start: server settings, and users with their grants.
//!
//! The engine authenticates every session as its user `default`, so who asks is decided by our
//! HTTP server. What the asker may touch is decided by the engine: `default` has no grants of its
//! own, only two roles, and an analyst's session takes the role that can read the listed tables
//! and nothing else (no sources such as `file()` or `url()`, no writes, no temporary tables).

use std::fs;
use std::path::{Path, PathBuf};

use super::{EngineConfig, EngineError};

/// Roles of the engine's `default` user.
pub(super) const SERVICE_ROLE: &str = "service";
pub(super) const ANALYST_ROLE: &str = "analyst";

/// Absolute paths of what was prepared.
pub(super) struct EngineFiles {
    pub(super) data_dir: PathBuf,
    pub(super) config_file: PathBuf,
}

/// Creates the data directory and writes the engine's files into it, over those of an earlier start.
pub(super) fn write(config: &EngineConfig) -> Result<EngineFiles, EngineError> {
    let failed = |source| EngineError::Directory {
        path: config.data_dir.clone(),
        source,
    };
    fs::create_dir_all(&config.data_dir).map_err(failed)?;
    let data_dir = config.data_dir.canonicalize().map_err(failed)?;
    let dir = data_dir.join("engine-config");
    fs::create_dir_all(&dir).map_err(failed)?;
    let users_file = dir.join("users.xml");
    fs::write(&users_file, users_xml(&config.analyst_tables)).map_err(failed)?;
    let config_file = dir.join("config.xml");
    fs::write(&config_file, config_xml(&users_file, config.max_memory_bytes)).map_err(failed)?;
    Ok(EngineFiles {
        data_dir,
        config_file,
    })
}

/// Server settings. Caches are sized for a process that shares a small machine; no system log
/// table is configured, and without one the engine writes none.
fn config_xml(users_file: &Path, max_memory_bytes: u64) -> String {
    let users_file = escape(&users_file.to_string_lossy());
    let mark_cache = (max_memory_bytes / 16).min(128 << 20);
    let small_cache = (max_memory_bytes / 64).min(32 << 20);
    let mut xml = format!(
        "<clickhouse>\n\
         <logger><console>0</console></logger>\n\
         <users_config>{users_file}</users_config>\n\
         <max_server_memory_usage>{max_memory_bytes}</max_server_memory_usage>\n\
         <mark_cache_size>{mark_cache}</mark_cache_size>\n\
         <primary_index_cache_size>{mark_cache}</primary_index_cache_size>\n\
         <uncompressed_cache_size>0</uncompressed_cache_size>\n"
    );
    for cache in [
        "index_mark_cache_size",
        "query_condition_cache_size",
        "compiled_expression_cache_size",
        "parquet_metadata_cache_size",
        "iceberg_metadata_files_cache_size",
        "text_index_tokens_cache_size",
        "text_index_header_cache_size",
        "text_index_postings_cache_size",
        "vector_similarity_index_cache_size",
    ] {
        xml.push_str(&format!("<{cache}>{small_cache}</{cache}>\n"));
    }
    xml.push_str("<max_thread_pool_size>1000</max_thread_pool_size>\n");
    xml.push_str("<max_thread_pool_free_size>16</max_thread_pool_free_size>\n");
    xml.push_str("<background_pool_size>2</background_pool_size>\n");
    xml.push_str("<background_schedule_pool_size>2</background_schedule_pool_size>\n</clickhouse>\n");
    xml
}

fn users_xml(analyst_tables: &[String]) -> String {
    let grants: String = analyst_tables
        .iter()
        .map(|table| format!("<query>GRANT SELECT, SHOW ON {}</query>", escape(table)))
        .collect();
    format!(
        "<clickhouse>\n\
         <profiles><default></default></profiles>\n\
         <quotas><default></default></quotas>\n\
         <roles>\n\
         <{SERVICE_ROLE}><grants><query>GRANT ALL ON *.*</query></grants></{SERVICE_ROLE}>\n\
         <{ANALYST_ROLE}><grants>{grants}</grants></{ANALYST_ROLE}>\n\
         </roles>\n\
         <users><default>\n\
         <password></password><networks><ip>::/0</ip></networks>\n\
         <profile>default</profile><quota>default</quota>\n\
         <grants><query>GRANT {SERVICE_ROLE}</query><query>GRANT {ANALYST_ROLE}</query></grants>\n\
         </default></users>\n\
         </clickhouse>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_user_has_roles_and_no_grants_of_its_own() {
        let xml = users_xml(&["db.t".to_owned()]);
        assert!(
            xml.contains("<analyst><grants><query>GRANT SELECT, SHOW ON db.t</query></grants></analyst>")
        );
        assert_eq!(xml.matches("GRANT ALL").count(), 1);
    }

    #[test]
    fn paths_are_escaped() {
        assert!(config_xml(Path::new("/a&b<c"), 1 << 30).contains("/a&amp;b&lt;c"));
    }
}
