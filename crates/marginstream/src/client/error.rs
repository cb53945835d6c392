//! What can go wrong with a request.

use std::io;

use hyper::StatusCode;

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or not to this process.
    #[error("cannot connect to {place}")]
    Connect {
        /// The address or socket.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {place} broke")]
    Broken {
        /// The address or socket.
        place: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The server refused, or failed.
    #[error("{place} answered {status} to {request}: {message}")]
    Refused {
        /// The address or socket.
        place: String,
        /// Method and path.
        request: String,
        /// The status.
        status: StatusCode,
        /// The error's message, or the start of the body.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("{place} gave an answer to {request} that cannot be read")]
    Unreadable {
        /// The address or socket.
        place: String,
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A URL or header that cannot be sent.
    #[error("{0} cannot be sent in a request")]
    Unsendable(&'static str),
}

impl ClientError {
    /// Tells whether nobody listens there.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self, Self::Connect { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }
}
