//! A running instance, asked at its admin address.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::cli::exit::{Exit, Failure};
use crate::deliver::escape;

/// How long nothing may come from an instance.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The longest refusal that is shown, in bytes.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// The address of a part of the API, below the one that was given.
pub(crate) fn address(url: &str, parts: &[&str]) -> Result<reqwest::Url, Failure> {
    let wrong = |words: String| Failure::new(Exit::Usage, anyhow::anyhow!("`--url` {words}"));
    let mut url: reqwest::Url =
        url.parse().map_err(|error| wrong(format!("is no address: {error}")))?;
    match url.path_segments_mut() {
        Ok(mut path) => drop(path.pop_if_empty().extend(["api", "v1"]).extend(parts)),
        Err(()) => return Err(wrong("is no address of a web server".to_owned())),
    }
    Ok(url)
}

/// Asks, and writes the answer to `out`, at most `bytes_max` of it. A refusal is a failure with the
/// words of the instance.
pub(crate) fn ask(
    url: &reqwest::Url,
    token: Option<&str>,
    bytes_max: u64,
    out: &mut dyn Write,
) -> Result<u64, Failure> {
    crate::cli::runtime()?.block_on(async {
        let client = reqwest::Client::builder().read_timeout(SILENCE_MAX).build();
        let mut request = client.context("cannot make a client")?.get(url.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let place = || format!("cannot ask {}", escape(url.as_str()));
        let mut answer = request.send().await.with_context(place)?;
        if !answer.status().is_success() {
            let mut words = Vec::new();
            while let Some(chunk) = answer.chunk().await.with_context(place)? {
                words.extend_from_slice(&chunk);
                if words.len() >= REFUSAL_BYTES_MAX {
                    break;
                }
            }
            words.truncate(REFUSAL_BYTES_MAX);
            let words = escape(String::from_utf8_lossy(&words).trim());
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
        }
        let mut taken = 0_u64;
        while let Some(chunk) = answer.chunk().await.context("the answer was cut short")? {
            taken += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if taken > bytes_max {
                return Err(anyhow::anyhow!("the answer is longer than {bytes_max} bytes").into());
            }
            out.write_all(&chunk)?;
        }
        Ok(taken)
    })
}

/// The token in a file.
pub(crate) fn token(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    Ok(text.trim().to_owned())
}
