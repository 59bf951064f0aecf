//! cli

pub mod check;
pub mod config_cmd;
