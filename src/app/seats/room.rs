//! Who has which place. Changed when a connection opens or closes, never by a request that has a place.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use super::{
    idle::Idle,
    occupant::{Occupant, Standing},
};

/// Places beyond the bound, for probes and operators.
const RESERVE: usize = 128;

/// Those that one address can have of them.
const SHARE: usize = RESERVE / 4;

/// Connections that are asked to leave at the same time. Further ones are cut.
const MAX_LEAVING: usize = 256;

/// Connections at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub all: usize,
    /// Of one address.
    pub of_one: usize,
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Room {
    groups: HashMap<IpAddr, Group>,
    seated: usize,
    idle: Idle,
    /// The oldest first.
    reserve: VecDeque<Arc<Occupant>>,
    leaving: usize,
}

/// The places of one address.
#[derive(Debug, Default)]
struct Group {
    /// By their addresses in memory, which no two have.
    seated: HashMap<usize, Arc<Occupant>>,
    idle: Idle,
}

impl Room {
    /// Gives an occupant a place, in the stead of an idle one of its own address or of all where the bounds are met. Tells
    /// whether one was displaced; nothing where there is no place.
    pub(super) fn seat(&mut self, occupant: &Arc<Occupant>, bounds: Bounds) -> Option<bool> {
        let group = self.groups.get_mut(&occupant.origin).filter(|_| occupant.is_bounded);
        let displaced = match group.filter(|group| group.seated.len() >= bounds.of_one) {
            Some(group) => {
                let victim = group.idle.longest(group.seated.values())?;
                self.displace(&victim);
                true
            }
            None => false,
        };
        let displaced = displaced || self.seated >= bounds.all && self.displace_any().then_some(true)?;
        if occupant.standing() == Standing::Reserve {
            self.reserve.retain(|other| !Arc::ptr_eq(other, occupant));
        }
        occupant.set(Standing::Seated);
        self.groups
            .entry(occupant.origin)
            .or_default()
            .seated
            .insert(Arc::as_ptr(occupant).addr(), Arc::clone(occupant));
        self.seated += 1;
        Some(displaced)
    }

    /// Takes the place of the connection that has been idle for longest; false where none is.
    pub(super) fn displace_any(&mut self) -> bool {
        let all = self.groups.values().flat_map(|group| group.seated.values());
        let Some(victim) = self.idle.longest(all) else { return false };
        self.displace(&victim);
        true
    }

    /// Gives an occupant a place in the reserve, in the stead of the oldest one there that has not asked for anything. Tells
    /// whether one was displaced; nothing where there is no place.
    pub(super) fn reserve(&mut self, occupant: &Arc<Occupant>) -> Option<bool> {
        let own = |other: &Arc<Occupant>| other.origin == occupant.origin;
        let share = if occupant.is_bounded { SHARE } else { RESERVE };
        let has_share = self.reserve.iter().filter(|other| own(other)).count() >= share;
        let displaced = has_share || self.reserve.len() >= RESERVE;
        if displaced {
            let gives_way = |other: &Arc<Occupant>| (own(other) || !has_share) && other.activity().is_silent();
            let victim = self.reserve.remove(self.reserve.iter().position(gives_way)?)?;
            self.ask_to_leave(&victim, Standing::Cut);
        }
        self.reserve.push_back(Arc::clone(occupant));
        Some(displaced)
    }

    /// Whether those of `origin` must not wait in the reserve: others want places there, or further ones of it do.
    pub(super) fn is_crowded(&self, origin: IpAddr) -> bool {
        let waits = |other: &&Arc<Occupant>| other.origin == origin && !other.activity().is_silent();
        let own = self.reserve.iter().filter(waits).count();
        self.reserve.len() > RESERVE / 2 || own > SHARE / 2
    }

    /// A connection has ended. Tells whether it had a place that others can have.
    pub(super) fn leave(&mut self, occupant: &Arc<Occupant>) -> bool {
        match occupant.standing() {
            Standing::Seated => {
                self.remove(occupant);
                return true;
            }
            Standing::Reserve => self.reserve.retain(|other| !Arc::ptr_eq(other, occupant)),
            Standing::Leaving | Standing::Cut => self.leaving -= 1,
        }
        false
    }

    fn displace(&mut self, victim: &Arc<Occupant>) {
        self.remove(victim);
        self.ask_to_leave(victim, if self.leaving < MAX_LEAVING { Standing::Leaving } else { Standing::Cut });
    }

    fn ask_to_leave(&mut self, victim: &Occupant, standing: Standing) {
        self.leaving += 1;
        victim.set(standing);
        victim.end();
    }

    fn remove(&mut self, occupant: &Arc<Occupant>) {
        let Some(group) = self.groups.get_mut(&occupant.origin) else { return };
        group.seated.remove(&Arc::as_ptr(occupant).addr());
        self.seated -= 1;
        if group.seated.is_empty() {
            self.groups.remove(&occupant.origin);
        }
    }
}
