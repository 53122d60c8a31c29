//! The chains of a kernel's hash table: which entries stand in which bucket, newest first.
//!
//! Imitates `hlist_nulls_add_head_rcu` and `hlist_add_head_rcu`: a newcomer stands at the head of its chain. Everything is done
//! in one step, whatever the length of a chain. Must not know what an entry is.

/// No node, no bucket.
const NIL: u32 = u32::MAX;

/// Heads that are kept together; they take memory once one of their buckets was used.
const PAGE: usize = 512;

#[derive(Clone, Copy)]
struct Link {
    /// The older neighbour.
    next: u32,
    /// The newer neighbour; none for the head.
    prev: u32,
    /// None for a node that stands nowhere.
    bucket: u32,
}

const NOWHERE: Link = Link { next: NIL, prev: NIL, bucket: NIL };

/// A table of chains. Nodes are numbers of the caller's choice, small ones first: memory is taken up to the largest.
pub struct Chains {
    buckets: u32,
    heads: Vec<Option<Box<[u32; PAGE]>>>,
    links: Vec<Link>,
}

impl Chains {
    /// An empty table of so many buckets, at least 1 and fewer than 2³² − 1.
    pub fn new(buckets: u64) -> Chains {
        let buckets = buckets.clamp(1, u64::from(NIL) - 1) as u32;
        let mut heads = Vec::new();
        heads.resize_with((buckets as usize).div_ceil(PAGE), || None);
        Chains { buckets, heads, links: Vec::new() }
    }

    /// How many buckets there are.
    pub const fn buckets(&self) -> u32 {
        self.buckets
    }

    /// The newest node of a bucket.
    pub fn first(&self, bucket: u32) -> Option<u32> {
        let page = self.heads.get(bucket as usize / PAGE)?.as_ref()?;
        some(page[bucket as usize % PAGE])
    }

    /// The node after another, which is older.
    pub fn next(&self, node: u32) -> Option<u32> {
        some(self.links.get(node as usize)?.next)
    }

    /// The nodes of a bucket, newest first.
    pub fn chain(&self, bucket: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.first(bucket), |node| self.next(*node))
    }

    /// The next bucket from this one on, round the end of the table, that holds a node, and how many steps away it is.
    pub fn next_used(&self, from: u32) -> Option<(u32, u32)> {
        let mut step = 0;
        while step < self.buckets {
            let bucket = ((u64::from(from) + u64::from(step)) % u64::from(self.buckets)) as u32;
            if self.heads[bucket as usize / PAGE].is_none() {
                // The whole page is empty.
                let left = (PAGE - bucket as usize % PAGE) as u32;
                step = step.saturating_add(left.min(self.buckets - bucket));
                continue;
            }
            if self.first(bucket).is_some() {
                return Some((bucket, step));
            }
            step += 1;
        }
        None
    }

    /// Puts a node at the head of a bucket. It must stand nowhere.
    pub fn link(&mut self, node: u32, bucket: u32) {
        let index = node as usize;
        if index >= self.links.len() {
            self.links.resize(index + 1, NOWHERE);
        }
        debug_assert!(self.links[index].bucket == NIL, "a node stands in one bucket");
        let page = self.heads[bucket as usize / PAGE].get_or_insert_with(|| Box::new([NIL; PAGE]));
        let head = std::mem::replace(&mut page[bucket as usize % PAGE], node);
        self.links[index] = Link { next: head, prev: NIL, bucket };
        if let Some(newer) = self.links.get_mut(head as usize) {
            newer.prev = node;
        }
    }

    /// Takes a node out of its chain, if it stands in one.
    pub fn unlink(&mut self, node: u32) {
        let Some(link) = self.links.get_mut(node as usize) else { return };
        let Link { next, prev, bucket } = std::mem::replace(link, NOWHERE);
        if bucket == NIL {
            return;
        }
        if let Some(older) = self.links.get_mut(next as usize) {
            older.prev = prev;
        }
        match self.links.get_mut(prev as usize) {
            Some(newer) => newer.next = next,
            None => {
                if let Some(page) = &mut self.heads[bucket as usize / PAGE] {
                    page[bucket as usize % PAGE] = next;
                }
            }
        }
    }
}

const fn some(node: u32) -> Option<u32> {
    if node == NIL { None } else { Some(node) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn chains_are_those_of_a_plain_table() {
        let mut rng = Rng::new(7);
        let (mut chains, mut plain) = (Chains::new(1_030), vec![Vec::new(); 1_030]);
        let mut stands = [None; 300];
        for _ in 0..20_000 {
            let node = rng.below(300) as usize;
            if let Some(bucket) = stands[node].take() {
                chains.unlink(node as u32);
                let list: &mut Vec<u32> = &mut plain[bucket as usize];
                list.retain(|other| *other != node as u32);
            } else {
                let bucket = rng.below(5) * 257;
                chains.link(node as u32, bucket as u32);
                plain[bucket as usize].insert(0, node as u32);
                stands[node] = Some(bucket);
            }
            let looked = rng.below(5) as usize * 257;
            assert_eq!(chains.chain(looked as u32).collect::<Vec<_>>(), plain[looked]);
        }
        let used = (0..1_030_u32).cycle().skip(600).take(1_030).position(|bucket| !plain[bucket as usize].is_empty());
        assert_eq!(chains.next_used(600).map(|(_, step)| step as usize), used);
    }

    #[test]
    fn an_empty_table_of_any_size_is_searched_at_once() {
        assert_eq!(Chains::new(u64::MAX).next_used(5), None);
    }
}
