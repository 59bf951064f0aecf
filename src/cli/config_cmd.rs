//! `toolwarden config schema|init|show`: what a configuration may say, a first one, and the one in
//! force.
//!
//! Plain functions that write to what they are given; arguments are parsed in `cli`.

use std::io::Write;
use std::path::Path;

use crate::cli::check::{EXIT_CONFIG, EXIT_OK};
use crate::config::{self, Environment};

/// How `config show` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShowOutput {
    /// YAML in the shape of the file.
    #[default]
    Yaml,
    /// One JSON object.
    Json,
}

/// What `config schema` describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaOf {
    /// The configuration file.
    #[default]
    Config,
    /// One alert, as on the alerts topic and in a webhook's body.
    Alert,
    /// A rule file.
    Rule,
}

/// A JSON Schema as published under `schema/`.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the program.
pub fn schema_text(of: SchemaOf) -> anyhow::Result<String> {
    let schema = match of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Alert => config::alert_schema(),
        SchemaOf::Rule => config::rule_schema(),
    };
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Writes a JSON Schema.
///
/// # Errors
/// When `out` cannot be written to.
pub fn schema(of: SchemaOf, out: &mut dyn Write) -> anyhow::Result<u8> {
    out.write_all(schema_text(of)?.as_bytes())?;
    Ok(EXIT_OK)
}

/// Writes a first configuration, every field explained.
///
/// # Errors
/// When `out` cannot be written to.
pub fn init(out: &mut dyn Write) -> anyhow::Result<u8> {
    out.write_all(config::init_text().as_bytes())?;
    Ok(EXIT_OK)
}

/// Writes the configuration in force, defaults filled in, secrets masked; mistakes and warnings go
/// to `talk`.
///
/// # Errors
/// When `out` or `talk` cannot be written to.
pub fn show(
    path: &Path,
    environment: &dyn Environment,
    output: ShowOutput,
    (out, talk): (&mut dyn Write, &mut dyn Write),
) -> anyhow::Result<u8> {
    let loaded = match config::load(path, environment) {
        Ok(loaded) => loaded,
        Err(problems) => {
            write!(talk, "{problems}")?;
            return Ok(EXIT_CONFIG);
        }
    };
    for warning in &loaded.warnings {
        write!(talk, "{warning}")?;
    }
    match output {
        ShowOutput::Yaml => write!(out, "{}", config::show_yaml(&loaded.config))?,
        ShowOutput::Json => {
            writeln!(out, "{}", serde_json::to_string_pretty(&config::show_json(&loaded.config))?)?;
        }
    }
    Ok(EXIT_OK)
}
