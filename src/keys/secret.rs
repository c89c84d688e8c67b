//! The text of a key, `gb_<id>_<secret>`: made, read, and compared with what is known of it.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 24;

/// SHA-256 of a secret's text. 192 random bits cannot be found by trying, so no slower hash is needed.
#[derive(Clone)]
pub(super) struct SecretHash([u8; 32]);

impl SecretHash {
    /// No secret has this one. Unknown ids are compared with it, so that they take as long as known ones.
    pub(super) const NOBODY: Self = Self([0; 32]);

    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 2 * hash.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// As it stands in the keys file.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Whether it is this secret's, in the same time for every wrong one.
    pub(super) fn is_of(&self, presented: &KeyText<'_>) -> bool {
        self.0.ct_eq(&Self::of(presented.secret).0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A key as its owner shows it.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    /// Which key it claims to be; no secret.
    pub id: &'a str,
    secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// `None` when `text` cannot be a key.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("gb_")?.split_once('_')?;
        (is_id(id) && is_lower_hex(secret, SECRET_BYTES)).then_some(Self { id, secret })
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText(gb_{}_…)", self.id)
    }
}

/// A key that was just made. Only its owner is going to know its text.
pub struct NewKey {
    /// Which key it is; no secret.
    pub id: String,
    /// What its owner sends. Shown once, kept nowhere.
    pub text: String,
    pub(super) hash: SecretHash,
}

impl NewKey {
    /// Makes a key of the system's random numbers.
    ///
    /// # Errors
    /// When the system has none.
    pub fn make() -> anyhow::Result<Self> {
        let (id, secret) = (random_hex::<ID_BYTES>()?, random_hex::<SECRET_BYTES>()?);
        Ok(Self { text: format!("gb_{id}_{secret}"), hash: SecretHash::of(&secret), id })
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey(gb_{}_…)", self.id)
    }
}

/// Whether `text` is formed like a key's id: 12 hexadecimal digits in lower case.
pub fn is_id(text: &str) -> bool {
    is_lower_hex(text, ID_BYTES)
}

fn is_lower_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn random_hex<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_its_hash_is_its_own() {
        let (key, other) = (NewKey::make().unwrap(), NewKey::make().unwrap());
        assert_eq!((key.text.len(), is_id(&key.id)), (3 + 12 + 1 + 48, true));
        let text = KeyText::parse(&key.text).unwrap();
        let hash = SecretHash::parse(&key.hash.hex()).unwrap();
        assert!(hash.is_of(&text) && !other.hash.is_of(&text) && !SecretHash::NOBODY.is_of(&text));
        assert!(text.id == key.id && key.text != other.text);
        for shown in [format!("{key:?}"), format!("{text:?}"), format!("{hash:?}")] {
            assert!(!shown.contains(text.secret) && !shown.contains(&key.hash.hex()), "{shown}");
        }
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let (id, secret) = ("0123456789ab", "5".repeat(48));
        assert!(KeyText::parse(&format!("gb_{id}_{secret}")).is_some());
        for text in [
            String::new(),
            "gb_".to_owned(),
            format!("gb_{id}"),
            format!("gb_{id}_"),
            format!("gb_{id}_{secret}5"),
            format!("gb_{id}0_{secret}"),
            format!("gb_{id}_{}", secret.replace('5', "A")),
            format!("GB_{id}_{secret}"),
            format!("gb_{id}_{secret} "),
            format!("{id}_{secret}"),
        ] {
            assert!(KeyText::parse(&text).is_none(), "{text:?}");
        }
        for hex in ["", "5", &"5".repeat(63), &"g".repeat(64), &"é".repeat(32), &"+5".repeat(32)] {
            assert!(SecretHash::parse(hex).is_none(), "{hex:?}");
        }
    }
}
