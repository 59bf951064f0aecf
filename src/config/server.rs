//! The admin listener as it is written in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The admin listener.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-refused" = {
    "export_token": "a secret does not belong in this file: write `export_token_file: PATH` or `export_token_env: NAME`",
}))]
#[schemars(rename = "Server")]
pub(crate) struct RawServer {
    /// The IP address and port it listens on.
    #[schemars(extend("x-expects" = "an IP address and a port such as `127.0.0.1:9464`"))]
    pub(crate) listen: String,
    /// A file that holds the token of who may have everything that was learned
    /// (`baseline export --url`): at least 16 characters. Without one nobody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export_token_file: Option<String>,
    /// The environment variable that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export_token_env: Option<String>,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9464".to_owned(),
            export_token_file: None,
            export_token_env: None,
        }
    }
}
