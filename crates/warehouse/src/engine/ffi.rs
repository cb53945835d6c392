//! The C interface of libchdb, wrapped so that nothing unsafe leaves this module.
//!
//! Contract of the library, from `chdb.h`: a connection runs one statement at a time; results own
//! their memory and outlive the statement; strings are passed with their length; every handle that
//! is returned is destroyed, on error paths too.
#![expect(unsafe_code, reason = "the one module that calls into libchdb")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libloading::Library;

type ConnectionHandle = *mut c_void;
type ResultHandle = *mut c_void;
type InsertHandle = *mut c_void;

/// What the library reports about a text without running it.
#[repr(C)]
struct RawAnalysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

macro_rules! symbols {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// Entry points of the library, and the library itself, which is never unloaded: it owns
        /// threads that outlive any handle.
        pub(super) struct Api {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            _library: ManuallyDrop<Library>,
        }

        impl Api {
            /// Opens the library at `path` and resolves every entry point.
            ///
            /// # Errors
            /// When the file is no loadable library or lacks an entry point.
            pub(super) fn load(path: &Path) -> Result<Self, libloading::Error> {
                // SAFETY: the file is the engine that the operator installed; its initialisers are
                // trusted as this program's own code is.
                let library = unsafe { Library::new(path) }?;
                $(
                    // SAFETY: the type is the one chdb.h declares for this name.
                    let $name = unsafe {
                        *library.get::<unsafe extern "C" fn($($arg),*) $(-> $ret)?>(
                            concat!("chdb_", stringify!($name)).as_bytes(),
                        )?
                    };
                )*
                let api = Self { $($name,)* _library: ManuallyDrop::new(library) };
                // SAFETY: called before the first connection, as the header asks.
                unsafe { (api.set_signal_handlers_enabled)(0) };
                Ok(api)
            }
        }
    };
}

symbols! {
    set_signal_handlers_enabled: fn(c_int);
    connect: fn(c_int, *const *const c_char) -> *mut ConnectionHandle;
    close_conn: fn(*mut ConnectionHandle);
    query_with_params_n: fn(
        ConnectionHandle, *const u8, usize, *const u8, usize,
        *const *const u8, *const usize, *const *const u8, *const usize, usize
    ) -> ResultHandle;
    stream_query_with_params_n: fn(
        ConnectionHandle, *const u8, usize, *const u8, usize,
        *const *const u8, *const usize, *const *const u8, *const usize, usize
    ) -> ResultHandle;
    stream_fetch_result: fn(ConnectionHandle, ResultHandle) -> ResultHandle;
    stream_cancel_query: fn(ConnectionHandle, ResultHandle);
    destroy_query_result: fn(ResultHandle);
    stream_insert_with_params_n: fn(
        ConnectionHandle, *const u8, usize, *const u8, usize,
        *const *const u8, *const usize, *const *const u8, *const usize, usize
    ) -> InsertHandle;
    stream_append: fn(InsertHandle, *const c_void, usize) -> c_int;
    stream_done: fn(InsertHandle) -> ResultHandle;
    stream_cancel_insert: fn(InsertHandle);
    stream_insert_error: fn(InsertHandle) -> *const c_char;
    destroy_insert_stream: fn(InsertHandle);
    result_buffer: fn(ResultHandle) -> *const u8;
    result_length: fn(ResultHandle) -> usize;
    result_rows_read: fn(ResultHandle) -> u64;
    result_storage_rows_read: fn(ResultHandle) -> u64;
    result_storage_bytes_read: fn(ResultHandle) -> u64;
    result_rows_written: fn(ResultHandle) -> u64;
    result_bytes_written: fn(ResultHandle) -> u64;
    result_error: fn(ResultHandle) -> *const c_char;
    classify_query_n: fn(
        ConnectionHandle, *const u8, usize, *const u8, usize, *mut RawAnalysis
    ) -> c_int;
    shutdown: fn() -> c_int;
}

impl Api {
    /// Joins the library's threads; it cannot be used again in this process. `false` when a
    /// connection is still open.
    pub(super) fn shut_down(&self) -> bool {
        // SAFETY: takes no argument, and may be called at any time.
        unsafe { (self.shutdown)() == 0 }
    }
}

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Has `callback` run when the process exits, before whatever was registered earlier.
pub(super) fn run_at_exit(callback: extern "C" fn()) {
    // SAFETY: the callback is a plain function of this program. When it cannot be registered, the
    // process exits as if there were none.
    unsafe { atexit(callback) };
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// What a text does, as the engine's parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryClass {
    /// SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK.
    ReadOnly,
    /// Writes, DDL, session control, and whatever reaches out of the engine.
    Other,
    /// Does not parse.
    Unknown,
}

/// Class and number of the statements in a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Analysis {
    pub(crate) statements: u32,
    pub(crate) class: QueryClass,
}

/// Values for `{name:Type}` placeholders, in the engine's text form.
pub(crate) type Parameters = [(String, String)];

/// One connection of the engine: a session of its own, closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    api: Arc<Api>,
    raw: *mut ConnectionHandle,
}

// SAFETY: the library lets any thread use a connection, one at a time; `&mut self` sees to that.
unsafe impl Send for Connection {}

impl Connection {
    /// Connects with command-line style arguments (`--path=...`, `--setting=value`).
    /// `None` when the engine refuses; it gives no reason.
    pub(super) fn open(api: &Arc<Api>, arguments: &[CString]) -> Option<Self> {
        let argv: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        let argc = c_int::try_from(argv.len()).ok()?;
        // SAFETY: `argv` holds `argc` strings that live until the call returns.
        let raw = unsafe { (api.connect)(argc, argv.as_ptr()) };
        (!raw.is_null()).then(|| Self {
            api: Arc::clone(api),
            raw,
        })
    }

    fn handle(&self) -> ConnectionHandle {
        // SAFETY: `raw` came from `connect` and is closed only in `drop`.
        unsafe { *self.raw }
    }

    /// Runs `sql` and returns its whole result.
    ///
    /// # Errors
    /// The engine's message, `Code: N. DB::Exception: ...`.
    pub(crate) fn query(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<QueryResult, String> {
        let arrays = ParameterArrays::new(parameters);
        // SAFETY: every pointer is valid for its length during the call.
        let raw = unsafe {
            (self.api.query_with_params_n)(
                self.handle(),
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        QueryResult::new(&self.api, raw)
    }

    /// Starts `sql` and returns a stream of result chunks.
    ///
    /// # Errors
    /// The engine's message, when the statement fails before its first row.
    pub(crate) fn stream(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<QueryStream<'_>, String> {
        let arrays = ParameterArrays::new(parameters);
        // SAFETY: as in `query`.
        let raw = unsafe {
            (self.api.stream_query_with_params_n)(
                self.handle(),
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        let head = QueryResult::new(&self.api, raw)?;
        Ok(QueryStream {
            connection: self,
            head,
            finished: false,
        })
    }

    /// Starts an INSERT whose rows follow in `format`.
    ///
    /// # Errors
    /// The engine's message, when the statement is refused.
    pub(crate) fn insert(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> Result<InsertStream<'_>, String> {
        let arrays = ParameterArrays::new(parameters);
        // SAFETY: as in `query`.
        let raw = unsafe {
            (self.api.stream_insert_with_params_n)(
                self.handle(),
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        let stream = InsertStream {
            api: Arc::clone(&self.api),
            raw,
            finished: false,
            connection: PhantomData,
        };
        match stream.error() {
            Some(message) => Err(message),
            None => Ok(stream),
        }
    }

    /// Says what `sql` would do, without running it.
    pub(crate) fn classify(&mut self, sql: &[u8]) -> Analysis {
        let mut raw = RawAnalysis {
            struct_size: u32::try_from(size_of::<RawAnalysis>()).unwrap_or_default(),
            statement_count: 0,
            flags: 0,
            query_class: u32::MAX,
        };
        // SAFETY: `raw` is writable and carries its own size; the text is valid for its length.
        let state = unsafe {
            (self.api.classify_query_n)(self.handle(), sql.as_ptr(), sql.len(), ptr::null(), 0, &mut raw)
        };
        let class = match (state, raw.query_class) {
            (0, 0) => QueryClass::ReadOnly,
            (0, 1..=3) => QueryClass::Other,
            _ => QueryClass::Unknown,
        };
        Analysis {
            statements: raw.statement_count,
            class,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `raw` is open, and nothing borrowed from it is left.
        unsafe { (self.api.close_conn)(self.raw) };
    }
}

struct ParameterArrays {
    names: Vec<*const u8>,
    name_lengths: Vec<usize>,
    values: Vec<*const u8>,
    value_lengths: Vec<usize>,
}

impl ParameterArrays {
    fn new(parameters: &Parameters) -> Self {
        Self {
            names: parameters.iter().map(|(name, _)| name.as_ptr()).collect(),
            name_lengths: parameters.iter().map(|(name, _)| name.len()).collect(),
            values: parameters.iter().map(|(_, value)| value.as_ptr()).collect(),
            value_lengths: parameters.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}

/// A result, or one chunk of it. Owns its memory and can cross threads.
#[derive(Debug)]
pub(crate) struct QueryResult {
    api: Arc<Api>,
    raw: ResultHandle,
}

// SAFETY: a result belongs to no thread, and is only read after creation.
unsafe impl Send for QueryResult {}
// SAFETY: as above; the accessors do not change it.
unsafe impl Sync for QueryResult {}

impl QueryResult {
    fn new(api: &Arc<Api>, raw: ResultHandle) -> Result<Self, String> {
        if raw.is_null() {
            return Err("Code: 1002. DB::Exception: the engine returned no result".to_owned());
        }
        let result = Self {
            api: Arc::clone(api),
            raw,
        };
        // SAFETY: `raw` is a live result.
        match unsafe { message((result.api.result_error)(raw)) } {
            Some(message) => Err(message),
            None => Ok(result),
        }
    }

    /// Rows and bytes this result read and wrote.
    pub(crate) fn progress(&self) -> Progress {
        let read = |getter: unsafe extern "C" fn(ResultHandle) -> u64| {
            // SAFETY: `raw` is a live result.
            unsafe { getter(self.raw) }
        };
        Progress {
            read_rows: read(self.api.result_storage_rows_read),
            read_bytes: read(self.api.result_storage_bytes_read),
            written_rows: read(self.api.result_rows_written),
            written_bytes: read(self.api.result_bytes_written),
            result_rows: read(self.api.result_rows_read),
        }
    }
}

impl AsRef<[u8]> for QueryResult {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `raw` is a live result; buffer and length describe memory it owns until dropped.
        unsafe {
            let buffer = (self.api.result_buffer)(self.raw);
            if buffer.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(buffer, (self.api.result_length)(self.raw))
        }
    }
}

impl Drop for QueryResult {
    fn drop(&mut self) {
        // SAFETY: `raw` is live and destroyed once.
        unsafe { (self.api.destroy_query_result)(self.raw) };
    }
}

/// Rows and bytes read from storage and written, and rows in the result.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
    pub(crate) result_rows: u64,
}

/// A running query; cancelled when dropped before its end.
#[derive(Debug)]
pub(crate) struct QueryStream<'c> {
    connection: &'c mut Connection,
    head: QueryResult,
    finished: bool,
}

impl QueryStream<'_> {
    /// Returns the next chunk, or `None` at the end.
    ///
    /// # Errors
    /// The engine's message; the stream has ended then.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<QueryResult>, String> {
        if self.finished {
            return Ok(None);
        }
        let api = Arc::clone(&self.connection.api);
        // SAFETY: both handles are live, and this is the only thread using the connection.
        let raw = unsafe { (api.stream_fetch_result)(self.connection.handle(), self.head.raw) };
        match QueryResult::new(&api, raw) {
            Ok(chunk) if chunk.as_ref().is_empty() => {
                self.finished = true;
                Ok(None)
            }
            Ok(chunk) => Ok(Some(chunk)),
            Err(message) => {
                self.finished = true;
                Err(message)
            }
        }
    }
}

impl Drop for QueryStream<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // SAFETY: both handles are live, and this is the only thread using the connection.
            unsafe { (self.connection.api.stream_cancel_query)(self.connection.handle(), self.head.raw) };
        }
    }
}

/// A running INSERT; cancelled when dropped before [`InsertStream::finish`].
#[derive(Debug)]
pub(crate) struct InsertStream<'c> {
    api: Arc<Api>,
    raw: InsertHandle,
    finished: bool,
    connection: PhantomData<&'c mut Connection>,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: `raw` is a live handle.
        unsafe { message((self.api.stream_insert_error)(self.raw)) }
    }

    /// Hands over bytes of the input format; blocks while the engine is behind.
    /// Returns `false` when the insert has failed; [`InsertStream::finish`] then tells why.
    pub(crate) fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: `data` is valid for its length; the library copies it.
        unsafe { (self.api.stream_append)(self.raw, data.as_ptr().cast(), data.len()) == 0 }
    }

    /// Commits what was appended.
    ///
    /// # Errors
    /// The engine's message; nothing after the last whole block is written then.
    pub(crate) fn finish(mut self) -> Result<Progress, String> {
        self.finished = true;
        // SAFETY: `raw` is a live handle, finalised once.
        let raw = unsafe { (self.api.stream_done)(self.raw) };
        QueryResult::new(&self.api, raw).map(|result| result.progress())
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is live, cancelled at most once, and destroyed once.
        unsafe {
            if !self.finished {
                (self.api.stream_cancel_insert)(self.raw);
            }
            (self.api.destroy_insert_stream)(self.raw);
        }
    }
}

/// # Safety
/// `text` is null or a string that ends with a zero byte.
unsafe fn message(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}
