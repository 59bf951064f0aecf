//! An answer packed by gzip, for whoever takes that: a scrape is text that repeats itself.

use std::io::Write;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// `text` as the client that sent `headers` takes it.
pub(super) fn packed(headers: &HeaderMap, text: String) -> Response {
    let vary = (VARY, HeaderValue::from_static("accept-encoding"));
    match takes_gzip(headers).then(|| gzip(text.as_bytes())) {
        Some(Ok(bytes)) => {
            let encoding = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            ([vary, encoding], bytes).into_response()
        }
        Some(Err(_)) | None => ([vary], text).into_response(),
    }
}

/// Whether the client names gzip among what it takes, and not with the weight 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).any(|it| {
        let (name, weight) = it.split_once(';').unwrap_or((it, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|it| it.trim().parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0_f32) > 0.0
    })
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (asked, wanted) in [
            ("gzip", true),
            ("GZIP;q=0.5, identity", true),
            ("deflate, gzip ; q=1.0", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("deflate, br", false),
            ("xgzip", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(asked));
            assert_eq!(takes_gzip(&headers), wanted, "{asked}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
