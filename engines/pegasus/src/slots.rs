//! A vector of things with keys that never mean another thing: a key holds a generation beside its index, so an event
//! that comes late for something that is gone finds nothing.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Inserts what `make` returns for its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        let key = Key { index, generation: entry.0 };
        entry.1 = Some(make(key));
        key
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.index as usize).filter(|entry| entry.0 == key.generation)?.1.as_ref()
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key.index as usize).filter(|entry| entry.0 == key.generation)?.1.as_mut()
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize).filter(|entry| entry.0 == key.generation)?;
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, (generation, value))| {
            Some((Key { index: index as u32, generation: *generation }, value.as_ref()?))
        })
    }

    /// The keys of all that `select`, so that the caller may change the slots while walking them.
    pub fn keys(&self, mut select: impl FnMut(&T) -> bool) -> Vec<Key> {
        self.iter().filter(|(_, value)| select(value)).map(|(key, _)| key).collect()
    }
}

/// What an epoll event is about, in the 64 bits that epoll keeps for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Mailbox,
    /// Datagrams of conversations that others have begun.
    Door,
    /// Datagrams that the engine after this one has heard at the door.
    Relay,
    Listener(Key),
    Flow(Key),
    Carrier(Key),
}

impl Token {
    pub fn encode(self) -> u64 {
        let (kind, key) = match self {
            Token::Mailbox => return 0,
            Token::Door => return 4,
            Token::Relay => return 8,
            Token::Listener(key) => (1, key),
            Token::Flow(key) => (2, key),
            Token::Carrier(key) => (3, key),
        };
        u64::from(key.generation) << 32 | u64::from(key.index) << 2 | kind
    }

    pub fn decode(bits: u64) -> Self {
        let key = Key { index: (bits as u32) >> 2, generation: (bits >> 32) as u32 };
        match bits & 3 {
            1 => Token::Listener(key),
            2 => Token::Flow(key),
            3 => Token::Carrier(key),
            _ if bits == 0 => Token::Mailbox,
            _ if bits == 4 => Token::Door,
            _ => Token::Relay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_thing_without_meaning_the_next() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!((slots.len(), slots.keys(|_| true)), (1, vec![second]));
    }

    #[test]
    fn tokens_round_trip() {
        let key = Key { index: 0x3fff_fffe, generation: u32::MAX };
        for token in
            [Token::Mailbox, Token::Door, Token::Relay, Token::Listener(key), Token::Flow(key), Token::Carrier(key)]
        {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
