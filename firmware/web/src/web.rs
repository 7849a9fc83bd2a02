//! The web of the box: its routes, and what all of its pages know.

use crate::claim::Claiming;
use crate::place::Place;
use crate::{assets, connection, guard, pages};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use net::pump::End;
use net::{Shutdown, Stream};
use std::sync::{Arc, RwLock};
use wire::Peer;
use wire::limits::FORM_OCTETS_MAX;

/// What is spoken on port 443, in the order of preference.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The web. Clones are the same one.
#[derive(Clone)]
pub struct Web {
    knowledge: Knowledge,
    router: Router,
}

/// What handlers know.
#[derive(Clone)]
pub(crate) struct Knowledge {
    pub(crate) claiming: Claiming,
    place: Arc<RwLock<Arc<Place>>>,
}

impl Knowledge {
    pub(crate) fn place(&self) -> Arc<Place> {
        // Nothing panics while it is held.
        let place = self
            .place
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&place)
    }
}

impl Web {
    /// The web of a box that stands at `place`.
    pub fn new(claiming: Claiming, place: Place) -> Web {
        let knowledge = Knowledge {
            claiming,
            place: Arc::new(RwLock::new(Arc::new(place))),
        };
        let router = Router::new()
            .route("/", get(pages::front::show))
            .route("/setup", get(pages::setup::show).post(pages::setup::submit))
            .route("/setup/button", post(pages::button::ask).get(pages::button::wait))
            .route("/static/{hash}/{name}", get(assets::serve))
            .route("/robots.txt", get(pages::robots))
            .fallback(pages::not_found)
            .method_not_allowed_fallback(pages::wrong_method)
            .layer(DefaultBodyLimit::max(FORM_OCTETS_MAX))
            .layer(from_fn_with_state(knowledge.clone(), guard::guard))
            .with_state(knowledge.clone());
        Web { knowledge, router }
    }

    /// The box has other names or addresses.
    pub fn set_place(&self, place: Place) {
        let mut known = self
            .knowledge
            .place
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *known = Arc::new(place);
    }

    #[cfg(test)]
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves one connection to its end.
    pub fn converse(
        &self,
        stream: Stream,
        peer: &Peer,
        shutdown: Shutdown,
    ) -> impl Future<Output = End> + Send + use<> {
        connection::converse(stream, peer.address, self.router.clone(), shutdown)
    }
}
