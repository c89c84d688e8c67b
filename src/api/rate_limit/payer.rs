//! Who pays for a request: its key, or else the address that it comes from.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use axum::http::Request;
use tower_governor::{GovernorError, key_extractor::KeyExtractor};

use super::buckets::Buckets;
use crate::api::{auth::Caller, context::Context};

/// Addresses with a bucket of their own, about 4 MB by the size of their entries. Further ones share.
pub(super) const MOST_ADDRESSES: usize = 64 * 1024;

/// Buckets that the addresses beyond share.
pub(super) const CROWDS: u16 = 4096;

/// Requests after which the buckets are counted again: counting takes a lock per shard.
pub(super) const COUNT_EVERY: u32 = 256;

/// Each has a bucket of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::api) enum Payer {
    /// A key, by its id.
    Key(Arc<str>),
    /// An IPv4 address, or an IPv6 network of 64 bits: that is what one subscriber gets.
    Address(IpAddr),
    /// All addresses of one hash.
    Crowd(u16),
}

impl Payer {
    /// Who sent a request, as far as that is known by now; nobody for one that has not even an address.
    pub(in crate::api) fn of(context: &Context) -> Option<Self> {
        if let Some(Caller::Key(principal)) = context.caller.get() {
            return Some(Self::Key(Arc::clone(&principal.key_id)));
        }
        context.client.map(|address| Self::Address(network(address)))
    }
}

/// Reads the payer out of what authentication and `client.rs` have found out about the request. Of the extractors that come with
/// the library, the one for addresses behind proxies believes whatever the caller writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByCaller;

impl KeyExtractor for ByCaller {
    type Key = Payer;

    fn extract<T>(&self, request: &Request<T>) -> Result<Payer, GovernorError> {
        let context = request.extensions().get::<Arc<Context>>().ok_or(GovernorError::UnableToExtractKey)?;
        Payer::of(context).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Who has one IPv6 address has the whole of its /64.
pub(in crate::api) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Lets addresses share buckets when there are too many of them. Addresses can be forged or, with IPv6, be had by the
/// million; the memory that they cost must not be theirs to choose.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    calls: AtomicU32,
    crowded: AtomicBool,
    /// Seeded at random, so that nobody can choose whom to share with.
    hasher: RandomState,
}

impl Crowd {
    /// The address' own bucket, or one that it shares.
    pub(super) fn place(&self, payer: Payer, buckets: &Buckets) -> Payer {
        let Payer::Address(address) = payer else { return payer };
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY) {
            self.count(buckets);
        }
        if !self.crowded.load(Ordering::Relaxed) {
            return payer;
        }
        let crowd = self.hasher.hash_one(address) % u64::from(CROWDS);
        Payer::Crowd(u16::try_from(crowd).unwrap_or_default())
    }

    /// Looks whether there are too many.
    pub(super) fn count(&self, buckets: &Buckets) {
        self.crowded.store(buckets.len() >= MOST_ADDRESSES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_payer() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected, "{address}");
        }
    }
}
