//! The embedded engine: ClickHouse as a library, one per process.

mod ffi;
mod files;
mod library;
mod session;
mod tokens;

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use ffi::Api;
pub(crate) use ffi::{Analysis, Connection, Progress, QueryClass, QueryResult, QueryStream};
pub(crate) use session::{Role, Session, SessionOptions};

/// The database of this project, and the one a query runs in that names none.
pub const DEFAULT_DATABASE: &str = "marginstream";

/// Tables and views that the analyst user may read, as `database.table`.
pub const ANALYST_TABLES: &[&str] = &[
    "marginstream.cost_events",
    "marginstream.cost_by_hour",
    "marginstream.cost_by_tag_day",
    "marginstream.invoices",
    "marginstream.revenue_by_month",
    "marginstream.customers",
    "marginstream.customer_mappings",
    "marginstream.customer_period_margins",
    "marginstream.threshold_crossings",
];

/// Where the engine keeps its data, and how much it may use.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Directory of tables and metadata; created if missing, used by one process at a time.
    pub data_dir: PathBuf,
    /// The engine's shared library. `None` takes `CHDB_LIB`, then the project's own copy, then the
    /// system's library paths.
    pub library: Option<PathBuf>,
    /// Statements that run at once; more wait. Each takes one connection and one thread.
    pub connections: usize,
    /// Hard limit of the engine's memory, in bytes. A statement beyond it fails with code 241.
    pub max_memory_bytes: u64,
    /// What the analyst role may SELECT: `database.table`, `database.*` or a prefix, `database_*.*`.
    pub analyst_tables: Vec<String>,
}

impl EngineConfig {
    /// Defaults: 8 connections, 2 GiB, [`ANALYST_TABLES`].
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            library: None,
            connections: 8,
            max_memory_bytes: 2 << 30,
            analyst_tables: ANALYST_TABLES.iter().map(|&table| table.to_owned()).collect(),
        }
    }
}

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No library in any of the places looked in.
    #[error(
        "embedded engine not found; run `make libchdb` or set CHDB_LIB to a libchdb.so; looked in: {}",
        searched.join(", ")
    )]
    LibraryNotFound {
        /// Every place that was tried, in order.
        searched: Vec<String>,
    },
    /// The library is there and cannot be used.
    #[error("loading {path} failed")]
    Load {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        source: libloading::Error,
    },
    /// The data directory or the engine's files in it could not be written.
    #[error("preparing engine directory {path} failed")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data directory has a name the engine cannot be told.
    #[error("data directory {0} is not usable: its name is not UTF-8 or holds a zero byte")]
    DataDirName(PathBuf),
    /// This process has an engine open already, and there is one per process.
    #[error("an engine is already open in this process, on {0}")]
    AlreadyOpen(PathBuf),
    /// The engine did not start on its directory.
    #[error("engine refused to start on {0}; another process may be using it")]
    Refused(PathBuf),
    /// The engine started and does not answer its first queries.
    #[error("engine does not answer: {0}")]
    Unusable(String),
}

/// The engine of this process.
struct OpenEngine {
    data_dir: PathBuf,
    engine: Weak<Engine>,
}

static OPEN_ENGINE: Mutex<Option<OpenEngine>> = Mutex::new(None);
static NUM_EXIT_HOOKS: AtomicU64 = AtomicU64::new(0);

/// Exit hooks set one by one; beyond, only at powers of two. A hook takes 32 bytes.
const MAX_EXIT_HOOKS: u64 = 10_000;

/// How long [`Engine::close`] waits for running statements to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// ClickHouse in this process, on one data directory.
///
/// Every statement runs on a fresh connection, which costs about 0.1 ms: settings, current
/// database, role and temporary tables of one request cannot reach another.
#[derive(Debug)]
pub struct Engine {
    api: Arc<Api>,
    path_argument: CString,
    permits: Arc<Semaphore>,
    facts: EngineFacts,
    // Holds the engine open between statements. Dropping it, with no other connection, stops the engine.
    anchor: Mutex<Option<Connection>>,
    // Held while a connection opens, so that none opens once this says closed.
    is_closed: RwLock<bool>,
}

/// What does not change while the engine runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineFacts {
    /// IANA name of the server's time zone.
    pub(crate) timezone: String,
    pub(crate) host_name: String,
    /// Name of each SQL function, to what it is.
    pub(crate) functions: HashMap<String, FunctionFacts>,
    /// Suffixes that turn one aggregate function into another, as `If`.
    pub(crate) combinators: Vec<String>,
}

/// One row of `system.functions`.
#[derive(Debug, Clone)]
pub(crate) struct FunctionFacts {
    pub(crate) is_aggregate: bool,
    pub(crate) case_insensitive: bool,
    /// The function this one is another name of.
    pub(crate) alias_to: String,
    pub(crate) categories: String,
}

impl Engine {
    /// Opens the engine on `config.data_dir`. Blocks for 0.1 to 0.5 s.
    ///
    /// # Errors
    /// [`EngineError`]; a missing library names every place that was tried.
    pub fn open(config: EngineConfig) -> Result<Arc<Self>, EngineError> {
        let mut open_engine = OPEN_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open_engine.as_ref() {
            return Err(EngineError::AlreadyOpen(open.data_dir.clone()));
        }
        let api = Arc::new(library::load(config.library.as_deref())?);
        let files = files::write(&config)?;
        tokens::forget_without_rows(&files.data_dir).map_err(|source| EngineError::Directory {
            path: files.data_dir.clone(),
            source,
        })?;
        let path_argument = argument("path", &files.data_dir)?;
        let arguments = [
            c"marginstream".to_owned(),
            path_argument.clone(),
            argument("config-file", &files.config_file)?,
        ];
        let anchor = Connection::open(&api, &arguments)
            .ok_or_else(|| EngineError::Refused(config.data_dir.clone()))?;
        let mut engine = Self {
            api,
            path_argument,
            permits: Arc::new(Semaphore::new(config.connections.max(1))),
            facts: EngineFacts::default(),
            anchor: Mutex::new(Some(anchor)),
            is_closed: RwLock::new(false),
        };
        engine.facts = match engine.read_facts() {
            Ok(facts) => facts,
            Err(message) => {
                // Dropping the engine takes this lock.
                drop(open_engine);
                return Err(EngineError::Unusable(message));
            }
        };
        let engine = Arc::new(engine);
        *open_engine = Some(OpenEngine {
            data_dir: files.data_dir,
            engine: Arc::downgrade(&engine),
        });
        Ok(engine)
    }

    /// Stops the engine: refuses new statements, cancels statements and merges that run, and waits
    /// up to 10 s for them to end. Returns whether all had ended.
    ///
    /// Dropping the engine does the same. A program should do either before it returns from `main`:
    /// at exit it is attempted too, but by then the library may have lost data it needs, and the
    /// process may end with a signal. What was inserted is safe either way.
    pub fn close(&self) -> bool {
        *self.is_closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        let Some(mut anchor) = self.anchor.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return true;
        };
        let started = Instant::now();
        let has_time = || started.elapsed() < CLOSE_TIMEOUT;
        stop_work(&mut anchor, &has_time);
        // Handles that are still in use share the library with the engine and the anchor.
        let in_use = || Arc::strong_count(&self.api) > 2;
        while in_use() && has_time() {
            thread::sleep(POLL_INTERVAL);
        }
        !in_use()
    }

    pub(crate) fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// Waits for a free place among the statements that may run at once.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Opens a connection in which nothing was set yet.
    pub(crate) fn connect(&self) -> Result<Connection, String> {
        let is_closed = self.is_closed.read().unwrap_or_else(PoisonError::into_inner);
        if *is_closed {
            return Err("Code: 236. DB::Exception: the engine is stopping. (ABORTED)".to_owned());
        }
        let arguments = [
            c"marginstream".to_owned(),
            self.path_argument.clone(),
            // A server's defaults, in place of those the library has for interactive use.
            c"--implicit_select=0".to_owned(),
            c"--allow_introspection_functions=0".to_owned(),
        ];
        Connection::open(&self.api, &arguments)
            .ok_or_else(|| "Code: 1002. DB::Exception: the engine refused a connection".to_owned())
    }

    fn read_facts(&self) -> Result<EngineFacts, String> {
        let mut connection = self.connect()?;
        let database = format!(
            "CREATE DATABASE IF NOT EXISTS {}",
            crate::sql::identifier(DEFAULT_DATABASE)
        );
        connection.query(database.as_bytes(), "Null", &[])?;
        let host = rows(&mut connection, "SELECT timezone(), hostName()")?;
        let [timezone, host_name] = host.first().map(Vec::as_slice).unwrap_or_default() else {
            return Err("no time zone".to_owned());
        };
        let functions = rows(
            &mut connection,
            "SELECT name, is_aggregate, case_insensitive, alias_to, categories \
             FROM system.functions WHERE origin = 'System'",
        )?;
        let combinators = rows(
            &mut connection,
            "SELECT name FROM system.aggregate_function_combinators",
        )?;
        Ok(EngineFacts {
            timezone: timezone.clone(),
            host_name: host_name.clone(),
            functions: functions.into_iter().filter_map(function_facts).collect(),
            combinators: combinators.into_iter().flatten().collect(),
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
        let mut open = OPEN_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        if open
            .as_ref()
            .is_some_and(|open| ptr::eq(open.engine.as_ptr(), self))
        {
            *open = None;
        }
    }
}

/// Has [`close_at_exit`] run before the exit hooks that the library has set so far.
///
/// The library sets hooks for static data it makes lazily, as statements need it, and hooks run
/// latest first. So this is called when a statement has ended.
pub(crate) fn renew_exit_hook() {
    let number = NUM_EXIT_HOOKS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    if number <= MAX_EXIT_HOOKS || number.is_power_of_two() {
        ffi::run_at_exit(close_at_exit);
    }
}

/// Stops an engine that is open when the process exits: the library's threads must be gone before
/// its static data is, or the process ends with a crash.
extern "C" fn close_at_exit() {
    let open = OPEN_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = open.as_ref().and_then(|open| open.engine.upgrade());
    drop(open);
    let Some(engine) = engine else { return };
    // Not on this thread: its thread-local data, which the library uses, has been destroyed already.
    let stopping = thread::spawn(move || {
        if engine.close() {
            engine.api.shut_down();
        }
    });
    drop(stopping.join());
}

/// Cancels statements and merges, and waits for the merges to end: the engine crashes when it is
/// stopped in the middle of one (seen with 26.7). They begin anew at the next start.
fn stop_work(anchor: &mut Connection, has_time: &impl Fn() -> bool) {
    for statement in ["SYSTEM STOP MERGES", "KILL QUERY WHERE 1 ASYNC"] {
        if let Err(error) = anchor.query(statement.as_bytes(), "Null", &[]) {
            warn!(%error, statement, "stopping work failed");
        }
    }
    let merging = "SELECT 1 FROM system.merges LIMIT 1";
    while has_time() && rows(anchor, merging).is_ok_and(|merges| !merges.is_empty()) {
        thread::sleep(POLL_INTERVAL);
    }
}

fn function_facts(row: Vec<String>) -> Option<(String, FunctionFacts)> {
    let [name, is_aggregate, case_insensitive, alias_to, categories] = <[String; 5]>::try_from(row).ok()?;
    let facts = FunctionFacts {
        is_aggregate: is_aggregate == "1",
        case_insensitive: case_insensitive == "1",
        alias_to,
        categories,
    };
    Some((name, facts))
}

/// Runs `sql` and returns its rows as text, unescaped only as far as names need.
fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let result = connection.query(sql.as_bytes(), "TSV", &[])?;
    let text = String::from_utf8_lossy(result.as_ref()).into_owned();
    Ok(text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect())
}

fn argument(name: &str, value: &Path) -> Result<CString, EngineError> {
    let unusable = || EngineError::DataDirName(value.to_owned());
    let text = value.to_str().ok_or_else(unusable)?;
    CString::new(format!("--{name}={text}")).map_err(|_| unusable())
}
