//! From a receiver's name to addresses it may have: what the HTTP client connects to, and nothing else.
//!
//! A name is looked up once for each connection, each address is held against the [`Guard`], and the
//! client gets those that passed. There is no second look-up between the check and the connection, so
//! an answer that changes in between changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::deliver::guard::Guard;

/// Looks a name up; it may block.
pub type LookUpName = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Addresses of one name that are tried; further ones are not used.
const ADDRESSES_MAX: usize = 16;

/// The resolver of one receiver's HTTP client.
#[derive(Clone)]
pub(super) struct Names {
    guard: Guard,
    look_up: Arc<LookUpName>,
}

impl Names {
    pub(super) fn new(guard: Guard, look_up: Arc<LookUpName>) -> Self {
        Self { guard, look_up }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { guard, look_up } = self.clone();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || look_up(name.as_str())).await??;
            let (passed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().map(|it| guard.check(it).map(|()| it)).partition(Result::is_ok);
            match refused.into_iter().find_map(Result::err) {
                Some(refused) if passed.is_empty() => return Err(refused.into()),
                None if passed.is_empty() => return Err("the name has no address".into()),
                Some(_) | None => {}
            }
            // The client puts the URL's port in the place of 0.
            let passed = passed.into_iter().flatten().map(|it| SocketAddr::new(it, 0));
            Ok::<Addrs, _>(Box::new(passed.take(ADDRESSES_MAX)))
        })
    }
}

/// As the machine looks names up: its hosts file, its name servers.
pub(super) fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0_u16).to_socket_addrs()?.map(|address| address.ip()).collect())
}
