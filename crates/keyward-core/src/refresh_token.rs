//! The opaque refresh token: issue, parse, hash; and the sealed successor that answers a retry.
//!
//! ```text
//! kwr_ base64url( key_id 1 | session_id 16 | generation 8, big-endian | secret 32 | tag 16 )
//! ```
//!
//! The tag is HMAC-SHA-256 over `kwr_` and all bytes before it, cut to 16 bytes. It proves, at any
//! age and without a history table, that this server issued the token; a text whose tag fails never
//! reaches the store. The store holds SHA-256 of the whole text, so nothing in a stolen database
//! can be presented.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::encoding;
use crate::id::SessionId;
use crate::secret_hash::{Secret, SecretHash};

/// What every refresh token starts with. Secret scanners know tokens by it: never change it.
pub const PREFIX: &str = "kwr_";

/// Length of the text of every refresh token.
pub const TEXT_BYTES: usize = PREFIX.len() + 98;

/// The last generation that can have a successor. Stores count in signed 64-bit columns; no session
/// gets there, so a token that claims more was forged, and is refused before anyone adds one to it.
pub const GENERATION_MAX: u64 = i64::MAX as u64 - 1;

/// Random bytes in each token, fresh from the operating system's generator.
pub const SECRET_BYTES: usize = 32;

/// A refresh token in clear: it exists between parsing or issuing and hashing, nowhere else.
///
/// Only this server can have made one: it comes from [`RefreshToken::issue`] or from text whose
/// tag was verified.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RefreshToken {
    text: String,
    #[zeroize(skip)]
    session_id: SessionId,
    #[zeroize(skip)]
    generation: u64,
    #[zeroize(skip)]
    trust: TagTrust,
}

impl RefreshToken {
    /// Makes the token of one generation from fresh entropy, tagged with the active key of `keys`.
    pub fn issue(
        session_id: SessionId,
        generation: u64,
        secret: &[u8; SECRET_BYTES],
        keys: &MacKeys,
    ) -> Self {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes[0] = keys.active.id;
        bytes[SESSION_ID].copy_from_slice(session_id.as_bytes());
        bytes[GENERATION].copy_from_slice(&generation.to_be_bytes());
        bytes[SECRET].copy_from_slice(secret);
        let tag = tag(&keys.active, &bytes[..TAG.start]);
        bytes[TAG].copy_from_slice(&tag.as_ref()[..TAG.len()]);

        let mut text = String::with_capacity(TEXT_BYTES);
        text.push_str(PREFIX);
        text.push_str(&Zeroizing::new(encoding::encode(bytes.as_ref())));
        Self { text, session_id, generation, trust: keys.active.trust }
    }

    /// Reads a presented text. `None` for everything that this server did not issue; which part of
    /// it was wrong is nobody's business.
    pub fn parse(text: &str, keys: &MacKeys) -> Option<Self> {
        let bytes =
            Zeroizing::new(encoding::decode_exact::<TOKEN_BYTES>(text.strip_prefix(PREFIX)?)?);
        let key = keys.find(bytes[0])?;
        let expected = tag(key, &bytes[..TAG.start]);
        verify_slices_are_equal(&expected.as_ref()[..TAG.len()], &bytes[TAG]).ok()?;

        let mut session_id = [0; 16];
        session_id.copy_from_slice(&bytes[SESSION_ID]);
        let mut generation = [0; 8];
        generation.copy_from_slice(&bytes[GENERATION]);
        let generation = u64::from_be_bytes(generation);
        (generation <= GENERATION_MAX).then(|| Self {
            text: text.to_owned(),
            session_id: SessionId::from_bytes(session_id),
            generation,
            trust: key.trust,
        })
    }

    /// The number of the key that a text claims to be tagged with. Nothing is proved by it: it is
    /// for whoever may have missed a new key. `None` where the text is no token of any key.
    pub fn claimed_key(text: &str) -> Option<u8> {
        let bytes = encoding::decode_exact::<TOKEN_BYTES>(text.strip_prefix(PREFIX)?)?;
        Some(Zeroizing::new(bytes)[0])
    }

    /// The text for the cookie. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The session that this token belongs to.
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Its place in the family; the first token of a session is generation 0, the last one that
    /// parses [`GENERATION_MAX`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the key of the tag is still beyond doubt.
    pub fn trust(&self) -> TagTrust {
        self.trust
    }

    /// What the store knows of this token.
    pub fn hash(&self) -> RefreshTokenHash {
        SecretHash::over(&[self.text.as_bytes()])
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken")
    }
}

impl Secret for RefreshToken {
    const NAME: &'static str = "RefreshToken";
}

/// What the store knows of a refresh token.
pub type RefreshTokenHash = SecretHash<RefreshToken>;

/// Whether a tag still proves that this server issued a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagTrust {
    /// Nobody else is known to hold the key.
    Sound,
    /// The key may be in other hands: its tags prove nothing any more.
    Compromised,
}

/// One key for the tags of refresh tokens. It serves nothing else.
pub struct MacKey {
    id: u8,
    key: hmac::Key,
    trust: TagTrust,
}

impl MacKey {
    /// A key from 32 bytes of entropy.
    pub fn new(id: u8, secret: &[u8; 32], trust: TagTrust) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret), trust }
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({})", self.id)
    }
}

/// The keys whose tags are accepted, and the one that makes new tags.
#[derive(Debug)]
pub struct MacKeys {
    active: MacKey,
    retired: Vec<MacKey>,
}

impl MacKeys {
    /// `active` tags new tokens; `retired` ones are only verified with.
    pub fn new(active: MacKey, retired: Vec<MacKey>) -> Self {
        Self { active, retired }
    }

    /// Whether tags of the key with this number are accepted.
    pub fn has(&self, id: u8) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: u8) -> Option<&MacKey> {
        std::iter::once(&self.active).chain(&self.retired).find(|key| key.id == id)
    }
}

/// Proof that the party that exchanged a token is presenting it again: 16 bytes that nobody can
/// compute without both the token and the Idempotency-Key.
#[derive(Clone, Copy)]
pub struct RetryProof([u8; 16]);

impl RetryProof {
    /// A proof as a store holds it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for RetryProof {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for RetryProof {}

impl fmt::Debug for RetryProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryProof")
    }
}

/// The `Idempotency-Key` header: 16 to 128 printable ASCII characters.
pub struct IdempotencyKey(Zeroizing<String>);

impl IdempotencyKey {
    /// Reads the header's value; `None` where it is too short, too long or not printable.
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        ((16..=128).contains(&text.len()) && printable)
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey")
    }
}

/// What a presented token and its Idempotency-Key yield together: the proof, and the key that
/// seals and opens the successor. A stolen database has neither.
pub struct RetrySecret {
    proof: RetryProof,
    key: LessSafeKey,
}

impl RetrySecret {
    /// Derives both with HKDF-SHA-256 (RFC 5869). Each input is preceded by its length, so that no
    /// two pairs of inputs run together into the same bytes.
    pub fn derive(presented: &RefreshToken, key: &IdempotencyKey) -> Self {
        let mut input = Zeroizing::new(Vec::with_capacity(TEXT_BYTES + 128 + 16));
        for part in [presented.expose(), key.0.as_str()] {
            input.extend_from_slice(&(part.len() as u64).to_be_bytes());
            input.extend_from_slice(part.as_bytes());
        }
        let mut output = Zeroizing::new([0; 48]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"keyward retry v1")
            .extract(&input)
            .expand(&[b"proof and seal"], OutputBytes(48))
            .and_then(|okm| okm.fill(output.as_mut()))
            .expect("48 bytes are within the bound of HKDF-SHA-256");
        let mut proof = [0; 16];
        proof.copy_from_slice(&output[..16]);
        let key = UnboundKey::new(&AES_256_GCM_SIV, &output[16..])
            .expect("the key has the length of the algorithm");
        Self { proof: RetryProof(proof), key: LessSafeKey::new(key) }
    }

    /// Proves to a later request that it comes from the same party.
    pub fn proof(&self) -> RetryProof {
        self.proof
    }

    /// Seals the successor of the presented token. `nonce` is fresh entropy; the algorithm forgives
    /// a repeated one, and the key is used for one token only.
    pub fn seal(&self, successor: &RefreshToken, nonce: &SealNonce) -> SealedSuccessor {
        let mut sealed = Vec::with_capacity(nonce.len() + TEXT_BYTES + 16);
        sealed.extend_from_slice(nonce);
        let mut text = Zeroizing::new(successor.text.as_bytes().to_vec());
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(successor.session_id, successor.generation)),
                &mut text,
            )
            .expect("a token is far below the algorithm's length limit");
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        SealedSuccessor(sealed)
    }

    /// Opens the successor that the session row holds. `None` where anything does not fit; the
    /// caller then has an internal error before it, never a reason to revoke.
    pub fn open(
        &self,
        sealed: &SealedSuccessor,
        session_id: SessionId,
        generation: u64,
        current_hash: RefreshTokenHash,
        keys: &MacKeys,
    ) -> Option<RefreshToken> {
        let (nonce, ciphertext) = sealed.0.split_first_chunk::<12>()?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let text = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(session_id, generation)),
                &mut bytes,
            )
            .ok()?;
        let token = RefreshToken::parse(std::str::from_utf8(text).ok()?, keys)?;
        // A successor that is not the current token would be a second line.
        (token.hash() == current_hash).then_some(token)
    }
}

impl fmt::Debug for RetrySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetrySecret")
    }
}

/// Fresh entropy for one seal.
pub type SealNonce = [u8; 12];

/// A successor token under AES-256-GCM-SIV: nonce, ciphertext, tag.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSuccessor(Vec<u8>);

impl SealedSuccessor {
    /// A sealed successor as a store holds it.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealedSuccessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSuccessor")
    }
}

/// Binds a sealed successor to its place: moved to another row or generation it does not open.
fn associated_data(session_id: SessionId, generation: u64) -> [u8; 24] {
    let mut data = [0; 24];
    data[..16].copy_from_slice(session_id.as_bytes());
    data[16..].copy_from_slice(&generation.to_be_bytes());
    data
}

fn tag(key: &MacKey, bytes: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&key.key);
    context.update(PREFIX.as_bytes());
    context.update(bytes);
    context.sign()
}

/// A length, in the form that the HKDF interface asks for.
struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

const TOKEN_BYTES: usize = 73;
const SESSION_ID: std::ops::Range<usize> = 1..17;
const GENERATION: std::ops::Range<usize> = 17..25;
const SECRET: std::ops::Range<usize> = 25..57;
const TAG: std::ops::Range<usize> = 57..73;
