//! base64url, canonical form only (RFC 4648, sections 3.5 and 5), and base32 for what people type.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Encodes without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes text that is canonical: no padding, no other characters, unused bits zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes canonical text of exactly `N` bytes.
pub(crate) fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    // A longer text is refused before it is decoded, so that no input makes us allocate.
    if text.len() != N.div_ceil(3) * 4 - (3 - N % 3) % 3 {
        return None;
    }
    let mut bytes = [0; N];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (written == N).then_some(bytes)
}

/// Encodes whole groups of five bits, with this alphabet. What is left over is dropped: the lengths
/// in use leave nothing.
pub(crate) fn encode_base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5);
    let (mut held, mut bits) = (0_u16, 0_u32);
    for byte in bytes {
        held = (held << 8 | u16::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(alphabet[usize::from(held >> bits & 31)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_canonical() {
        assert_eq!(decode("AA"), Some(vec![0]));
        for text in ["AB", "AA==", "A A", "A+", "A/", "A", "AA\n"] {
            assert_eq!(decode(text), None, "{text:?}");
            assert_eq!(decode_exact::<1>(text), None, "{text:?}");
        }
    }

    #[test]
    fn exact_length_for_every_remainder() {
        assert_eq!(decode_exact::<1>(&encode(&[1])), Some([1]));
        assert_eq!(decode_exact::<2>(&encode(&[1, 2])), Some([1, 2]));
        assert_eq!(decode_exact::<3>(&encode(&[1, 2, 3])), Some([1, 2, 3]));
        assert_eq!(decode_exact::<4>(&encode(&[1, 2, 3, 4])), Some([1, 2, 3, 4]));
        assert_eq!(decode_exact::<3>(&encode(&[1, 2])), None);
    }
}
