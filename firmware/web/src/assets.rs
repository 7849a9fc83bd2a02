//! Files that never change: each has the hash of its octets in its address, so that browsers keep it for ever and never
//! show an old one after an update.

use crate::language::Texts;
use crate::pages;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
    /// `/static/HASH/NAME`.
    address: String,
}

/// Octets of the hash that are shown: 64 bits tell the versions of one file apart.
const HASH_OCTETS: usize = 8;

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "style.css",
        "text/css; charset=utf-8",
        include_str!("../static/style.css"),
    )
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, text: &'static str) -> Asset {
        let hash = digest(&SHA256, text.as_bytes());
        let mut hex = String::new();
        for octet in &hash.as_ref()[..HASH_OCTETS] {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{octet:02x}");
        }
        Asset {
            name,
            media_type,
            text,
            address: format!("/static/{hex}/{name}"),
        }
    }
}

/// The address of the one style sheet.
pub(crate) fn style() -> &'static str {
    &STYLE.address
}

/// `GET /static/{hash}/{name}`. With another hash than now's there is nothing: the page that asks is older than the
/// box, and is read again.
pub(crate) async fn serve(
    Extension(texts): Extension<&'static Texts>,
    Path((hash, name)): Path<(String, String)>,
) -> Response {
    let style = &*STYLE;
    if name != style.name || format!("/static/{hash}/{name}") != style.address {
        return pages::refusal(texts, StatusCode::NOT_FOUND, "not-found");
    }
    let headers = [
        (header::CONTENT_TYPE, style.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, style.text).into_response()
}
