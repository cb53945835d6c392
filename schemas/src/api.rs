//! JSON bodies that servers, operator commands and tests share.

pub mod accounts;
pub mod attribution;
pub mod cost_events;
pub mod margins;
pub mod shapes;
pub mod stream;
pub mod summary;
